"""Approvals in the database. Every change of a state is one compare-and-swap: no two processes both make it (J-09)."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import orjson
from sqlalchemy import and_, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from proxy.approval.states import FOLLOWING, Approval, Crowded, Moment, Refusing, State, Vote
from proxy.db.engine import take_turns, writing
from proxy.db.tables import approval_messages, approval_votes, approvals
from proxy.model import Strength

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Connection, Engine, RowMapping

    from proxy.approval.card import Card
    from proxy.approval.fingerprint import Asked
    from proxy.clock import Clock
    from proxy.db.sealing import Seal

PREFIX: Final = "apr_"
_ID_BYTES: Final = 16
"""128 bits: nobody guesses one (J-06)."""


class UnreadableError(SQLAlchemyError):
    """A row says what none of ours says: as if the database had failed (J-15)."""


@dataclass(frozen=True, slots=True)
class Changed:
    """An approval after a vote, and whether that vote decided it."""

    approval: Approval
    decided: bool


class ApprovalStore:
    """The tables `approvals` and `approval_votes`. Methods block for a small transaction."""

    def __init__(self, database: Engine, seal: Seal, clock: Clock, *, boot: str) -> None:
        self._database: Final = database
        self._seal: Final = seal
        self._clock: Final = clock
        self._boot: Final = boot

    def now(self) -> Moment:
        """The present, on both clocks."""
        return Moment(self._clock.wall_ms(), self._boot, self._clock.monotonic_s())

    def get(self, id_: str) -> Approval | None:
        """One, as its row says."""
        with self._database.connect() as connection:
            return next(iter(_read(connection, approvals.c.id == id_)), None)

    def card(self, id_: str) -> dict[str, object] | None:
        """What its approver sees (`Card`, as JSON). Raises `UnsealError`."""
        with self._database.connect() as connection:
            sealed = connection.execute(select(approvals.c.card).where(approvals.c.id == id_)).scalar()
        opened: dict[str, object] | None
        opened = None if sealed is None else orjson.loads(self._seal.unseal(_place(id_), sealed))
        return opened

    def approved(self, asked: Asked, fingerprint: str) -> Approval | None:
        """The approval of this very request that may be used now."""
        now = self.now()
        theirs = and_(approvals.c.agent == asked.agent.name, approvals.c.tenant == asked.agent.tenant)
        ready = and_(approvals.c.state == State.APPROVED.value, ~_reached(now))
        with self._database.connect() as connection:
            return next(iter(_read(connection, theirs, approvals.c.fingerprint == fingerprint, ready)), None)

    def listed(
        self, *, tenant: str | None, state: State | None, limit: int, agent: str | None = None, user: str | None = None
    ) -> tuple[Approval, ...]:
        """The newest first; deadlines that have passed are not in the rows yet (see `Approval.standing`).

        With `agent`, what that agent asked for on behalf of `user`, or of nobody.
        """
        wanted = [approvals.c.state == state.value] if state is not None else []
        wanted += [approvals.c.tenant == tenant] if tenant is not None else []
        wanted += [approvals.c.agent == agent, approvals.c.user == user] if agent is not None else []
        with self._database.connect() as connection:
            return tuple(_read(connection, *wanted, limit=limit))

    def changed(self, *, tenant: str | None, since_ms: int, limit: int) -> tuple[Approval, ...]:
        """What is new, voted on or over since then, the newest first."""
        wanted = [approvals.c.changed_at_ms >= since_ms]
        wanted += [approvals.c.tenant == tenant] if tenant is not None else []
        with self._database.connect() as connection:
            return tuple(_read(connection, *wanted, limit=limit))

    def reasons(self, id_: str) -> dict[str, str]:
        """What each approver gave as their reason."""
        query = select(approval_votes.c.approver, approval_votes.c.reason).where(approval_votes.c.approval == id_)
        with self._database.connect() as connection:
            return {row.approver: row.reason for row in connection.execute(query)}

    def states(self, ids: Iterable[str]) -> dict[str, Approval]:
        """Those approvals, by id."""
        with self._database.connect() as connection:
            return {one.id: one for one in _read(connection, approvals.c.id.in_(tuple(ids)))}

    def ask(
        self,
        asked: Asked,
        *,
        fingerprint: str,
        family: str,
        card: Card,
        deadline: Moment,
        refused_for_ms: int,
        max_pending: int,
    ) -> Approval | Refusing | Crowded:
        """The approval that this very request has already, or a new one that is pending, or why there is none.

        An approved one goes before a pending one. A question that was answered with no, or given up, takes a place
        among the pending ones for `refused_for_ms` more: who asks for noes is asked about less (J-11).
        """
        now = self.now()
        with writing(self._database) as connection:
            take_turns(connection, f"approvals of {asked.agent.tenant} {asked.agent.name}")
            _expire(connection, asked.agent.name, now)
            theirs = and_(approvals.c.agent == asked.agent.name, approvals.c.tenant == asked.agent.tenant)
            own = _read(connection, theirs, approvals.c.fingerprint == fingerprint, _open())
            for found in sorted(own, key=lambda one: one.state is not State.APPROVED):
                return found
            recent = and_(theirs, approvals.c.changed_at_ms > now.wall_ms - refused_for_ms)
            no = and_(recent, approvals.c.state == State.REJECTED.value, approvals.c.family == family)
            if (
                last_ms := connection.execute(select(func.max(approvals.c.changed_at_ms)).where(no)).scalar()
            ) is not None:
                return Refusing(last_ms + refused_for_ms - now.wall_ms)
            pending = select(func.count()).where(theirs, approvals.c.state == State.PENDING.value)
            vain = approvals.c.state.in_((State.REJECTED.value, State.WITHDRAWN.value))
            since = select(approvals.c.changed_at_ms).where(recent, vain).order_by(approvals.c.changed_at_ms)
            ended = connection.execute(since).scalars().all()
            if (connection.execute(pending).scalar() or 0) + len(ended) >= max_pending:
                return Crowded(ended[0] + refused_for_ms - now.wall_ms if ended else None)
            new = _new(asked, fingerprint, family, deadline, now)
            sealed = self._seal.seal(_place(new.id), orjson.dumps(asdict(card)))
            connection.execute(insert(approvals).values(**_row(new), changed_at_ms=now.wall_ms, card=sealed))
            return new

    def change(self, id_: str, before: State, after: State, *, receipt: str | None = None) -> bool:
        """Bring one from `before` to `after`, if it still is there and in time; whether this call did it."""
        if after not in FOLLOWING[before]:
            raise ValueError(f"{after} does not follow {before}")
        now = self.now()
        there = and_(approvals.c.id == id_, approvals.c.state == before.value)
        if after is not State.EXPIRED:
            there = and_(there, ~_reached(now))
        values = {"state": after.value, "changed_at_ms": now.wall_ms, "receipt": receipt}
        with writing(self._database) as connection:
            return connection.execute(update(approvals).where(there).values(**values)).rowcount == 1

    def vote(self, id_: str, vote: Vote, *, reason: str, usable_s: float) -> Changed | State | None:
        """Count `vote`; an approval that it completes may be used for `usable_s`.

        Returns the state that stands in the way, where it is not pending any more; None where there is no such one.
        A second vote of one approver replaces the first, whatever name it came under.
        """
        now = self.now()
        with writing(self._database) as connection:
            take_turns(connection, f"votes on {id_}")
            found = next(iter(_read(connection, approvals.c.id == id_)), None)
            if found is None:
                return None
            if (standing := found.standing(now)) is not State.PENDING:
                return standing
            votes = (*(one for one in found.votes if one.approver not in vote.names), vote)
            mine = and_(approval_votes.c.approval == id_, approval_votes.c.approver.in_(vote.names))
            connection.execute(approval_votes.delete().where(mine))
            connection.execute(
                insert(approval_votes).values(
                    approval=id_,
                    approver=vote.approver,
                    yes=vote.yes,
                    factor=vote.factor,
                    reason=reason,
                    at_ms=now.wall_ms,
                )
            )
            state = found.decided_by(votes)
            deadline = now.later(usable_s) if state is State.APPROVED else found.deadline
            connection.execute(
                update(approvals)
                .where(approvals.c.id == id_)
                .values(state=state.value, changed_at_ms=now.wall_ms, **_until(deadline))
            )
            changed = next(iter(_read(connection, approvals.c.id == id_)))
        return Changed(changed, decided=state is not State.PENDING)

    def expire(self) -> tuple[str, ...]:
        """Write down every deadline that has passed; the ids of those approvals."""
        now = self.now()
        with writing(self._database) as connection:
            return _expire(connection, None, now)

    def forget(self, *, before_ms: int) -> int:
        """Remove what ended before then, with its card; how many."""
        old = and_(approvals.c.changed_at_ms < before_ms, ~_open())
        with writing(self._database) as connection:
            ids = select(approvals.c.id).where(old)
            connection.execute(approval_votes.delete().where(approval_votes.c.approval.in_(ids)))
            connection.execute(approval_messages.delete().where(approval_messages.c.approval.in_(ids)))
            return connection.execute(approvals.delete().where(old)).rowcount


def _place(id_: str) -> str:
    return f"approval:{id_}"


def _new(asked: Asked, fingerprint: str, family: str, deadline: Moment, now: Moment) -> Approval:
    agent = asked.agent
    return Approval(
        id=PREFIX + secrets.token_urlsafe(_ID_BYTES),
        tenant=agent.tenant,
        agent=agent.name,
        user=agent.user.name if agent.user is not None else None,
        account=asked.account,
        profile=asked.profile,
        operation=asked.operation,
        fingerprint=fingerprint,
        family=family,
        state=State.PENDING,
        strength=asked.strength,
        needs=asked.needs,
        created_at_ms=now.wall_ms,
        deadline=deadline,
    )


def _row(approval: Approval) -> dict[str, object]:
    plain = asdict(approval)
    del plain["votes"], plain["deadline"]
    return {
        **plain,
        "state": approval.state.value,
        "strength": int(approval.strength),
        **_until(approval.deadline),
    }


def _until(deadline: Moment) -> dict[str, object]:
    return {"until_ms": deadline.wall_ms, "until_boot": deadline.boot, "until_s": deadline.monotonic_s}


def _open() -> ColumnElement[bool]:
    return approvals.c.state.in_((State.PENDING.value, State.APPROVED.value))


def _reached(now: Moment) -> ColumnElement[bool]:
    """`Moment.reached`, as SQL."""
    same_boot = and_(approvals.c.until_boot == now.boot, approvals.c.until_s <= now.monotonic_s)
    return (approvals.c.until_ms <= now.wall_ms) | same_boot


def _expire(connection: Connection, agent: str | None, now: Moment) -> tuple[str, ...]:
    over = and_(_open(), _reached(now))
    if agent is not None:
        over = and_(over, approvals.c.agent == agent)
    done = connection.execute(
        update(approvals)
        .where(over)
        .values(state=State.EXPIRED.value, changed_at_ms=now.wall_ms)
        .returning(approvals.c.id)
    )
    return tuple(done.scalars())


def _read(connection: Connection, *wanted: ColumnElement[bool], limit: int = 1000) -> Iterable[Approval]:
    query = select(approvals).where(*wanted).order_by(approvals.c.created_at_ms.desc()).limit(limit)
    rows = connection.execute(query).mappings().all()
    votes: dict[str, list[Vote]] = {}
    cast = select(approval_votes).where(approval_votes.c.approval.in_([row["id"] for row in rows]))
    for vote in connection.execute(cast.order_by(approval_votes.c.at_ms)).mappings():
        votes.setdefault(vote["approval"], []).append(Vote(vote["approver"], bool(vote["yes"]), vote["factor"]))
    try:
        return [_approval(row, tuple(votes.get(row["id"], ()))) for row in rows]
    except (ValueError, TypeError):
        raise UnreadableError("an approval cannot be read") from None


def _approval(row: RowMapping, votes: tuple[Vote, ...]) -> Approval:
    return Approval(
        id=row["id"],
        tenant=row["tenant"],
        agent=row["agent"],
        user=row["user"],
        account=row["account"],
        profile=row["profile"],
        operation=row["operation"],
        fingerprint=row["fingerprint"],
        family=row["family"],
        state=State(row["state"]),
        strength=Strength(row["strength"]),
        needs=row["needs"],
        created_at_ms=row["created_at_ms"],
        deadline=Moment(row["until_ms"], row["until_boot"], row["until_s"]),
        votes=votes,
        receipt=row["receipt"],
    )
