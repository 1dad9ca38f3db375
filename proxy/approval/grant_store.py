"""Standing grants in the database. A use is one conditional update: no two processes take the last one."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, insert, select, update

from proxy.approval.grants import Grant, Scope, Terms
from proxy.approval.states import Moment, Vote
from proxy.db.engine import writing
from proxy.db.tables import approval_grant_votes, approval_grants

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Connection, Engine, RowMapping

    from proxy.approval.fingerprint import Asked
    from proxy.clock import Clock

PREFIX: Final = "agr_"
_ID_BYTES: Final = 16
_SCOPE: Final = tuple(Scope.__dataclass_fields__)


def new_id() -> str:
    """Of a grant that is about to be made."""
    return PREFIX + secrets.token_urlsafe(_ID_BYTES)


class GrantStore:
    """The tables `approval_grants` and `approval_grant_votes`. Methods block for a small transaction."""

    def __init__(self, database: Engine, clock: Clock, *, boot: str) -> None:
        self._database: Final = database
        self._clock: Final = clock
        self._boot: Final = boot

    def now(self) -> Moment:
        """The present, on both clocks."""
        return Moment(self._clock.wall_ms(), self._boot, self._clock.monotonic_s())

    def make(
        self, scope: Scope, terms: Terms, vote: Vote, *, approval: str | None, reason: str, id_: str | None = None
    ) -> Grant:
        """A new grant, which `vote` stands behind. Raises `BadTermsError`."""
        terms.check()
        now = self.now()
        new = Grant(
            id=id_ or new_id(),
            scope=scope,
            terms=terms,
            votes=(vote,),
            uses=0,
            created_at_ms=now.wall_ms,
            deadline=now.later(terms.for_s),
            revoked_at_ms=None,
            revoked_by=None,
            approval=approval,
            reason=reason,
        )
        with writing(self._database) as connection:
            connection.execute(insert(approval_grants).values(**_row(new)))
            _stand_behind(connection, new.id, vote, now)
        return new

    def second(self, id_: str, vote: Vote) -> bool:
        """Let an approver stand behind one that is alive, under one name; whether that could be done."""
        now = self.now()
        with writing(self._database) as connection:
            found = next(iter(_read(connection, approval_grants.c.id == id_)), None)
            if found is None or not found.alive(now):
                return False
            theirs = and_(approval_grant_votes.c.grant == id_, approval_grant_votes.c.approver.in_(vote.names))
            connection.execute(approval_grant_votes.delete().where(theirs))
            _stand_behind(connection, id_, vote, now)
        return True

    def get(self, id_: str) -> Grant | None:
        """One, as its rows say."""
        with self._database.connect() as connection:
            return next(iter(_read(connection, approval_grants.c.id == id_)), None)

    def listed(self, *, tenant: str | None, limit: int) -> tuple[Grant, ...]:
        """The newest first, those that are over too (see `Grant.alive`)."""
        wanted = [approval_grants.c.tenant == tenant] if tenant is not None else []
        with self._database.connect() as connection:
            return tuple(_read(connection, *wanted, limit=limit))

    def covering(self, asked: Asked) -> Grant | None:
        """One that covers this request now; the one that ends first, where there are several."""
        now = self.now()
        theirs = and_(approval_grants.c.tenant == asked.agent.tenant, approval_grants.c.agent == asked.agent.name)
        with self._database.connect() as connection:
            found = [one for one in _read(connection, theirs, _alive(now)) if one.alive(now) and one.covers(asked)]
        return min(found, key=lambda one: one.deadline.wall_ms, default=None)

    def use(self, id_: str) -> bool:
        """Take one use, if there is one left; whether this call got it."""
        there = and_(approval_grants.c.id == id_, _alive(self.now()))
        with writing(self._database) as connection:
            taken = update(approval_grants).where(there).values(uses=approval_grants.c.uses + 1)
            return connection.execute(taken).rowcount == 1

    def revoke(self, id_: str, *, by: str) -> bool:
        """End one at once; whether this call did it."""
        return self._end(approval_grants.c.id == id_, by) == 1

    def revoke_made_with_approval(self, approval: str, *, by: str) -> int:
        """End every grant that was made with a yes to `approval`; how many."""
        return self._end(approval_grants.c.approval == approval, by)

    def forget(self, *, before_ms: int) -> int:
        """Remove what ended before then; how many."""
        over = approval_grants.c.until_ms < before_ms
        with writing(self._database) as connection:
            ids = select(approval_grants.c.id).where(over)
            connection.execute(approval_grant_votes.delete().where(approval_grant_votes.c.grant.in_(ids)))
            return connection.execute(approval_grants.delete().where(over)).rowcount

    def _end(self, these: ColumnElement[bool], by: str) -> int:
        there = and_(these, approval_grants.c.revoked_at_ms.is_(None))
        with writing(self._database) as connection:
            ended = update(approval_grants).where(there).values(revoked_at_ms=self._clock.wall_ms(), revoked_by=by)
            return connection.execute(ended).rowcount


def _stand_behind(connection: Connection, id_: str, vote: Vote, now: Moment) -> None:
    row = {"grant": id_, "approver": vote.approver, "factor": vote.factor, "at_ms": now.wall_ms}
    connection.execute(insert(approval_grant_votes).values(**row))


def _alive(now: Moment) -> ColumnElement[bool]:
    """`Grant.alive`, as SQL."""
    rows = approval_grants.c
    same_boot = and_(rows.until_boot == now.boot, rows.until_s <= now.monotonic_s)
    reached = (rows.until_ms <= now.wall_ms) | same_boot
    return and_(rows.revoked_at_ms.is_(None), rows.uses < rows.max_uses, ~reached)


def _row(grant: Grant) -> dict[str, object]:
    return {
        **asdict(grant.scope),
        "id": grant.id,
        "max_cost_microusd": grant.terms.max_cost_microusd,
        "max_uses": grant.terms.max_uses,
        "uses": grant.uses,
        "created_at_ms": grant.created_at_ms,
        "until_ms": grant.deadline.wall_ms,
        "until_boot": grant.deadline.boot,
        "until_s": grant.deadline.monotonic_s,
        "approval": grant.approval,
        "reason": grant.reason,
    }


def _read(connection: Connection, *wanted: ColumnElement[bool], limit: int = 1000) -> Iterable[Grant]:
    query = select(approval_grants).where(*wanted).order_by(approval_grants.c.created_at_ms.desc()).limit(limit)
    rows = connection.execute(query).mappings().all()
    votes: dict[str, list[Vote]] = {}
    behind = select(approval_grant_votes).where(approval_grant_votes.c.grant.in_([row["id"] for row in rows]))
    for vote in connection.execute(behind.order_by(approval_grant_votes.c.at_ms)).mappings():
        votes.setdefault(vote["grant"], []).append(Vote(vote["approver"], yes=True, factor=vote["factor"]))
    return [_grant(row, tuple(votes.get(row["id"], ()))) for row in rows]


def _grant(row: RowMapping, votes: tuple[Vote, ...]) -> Grant:
    lasts_s = (row["until_ms"] - row["created_at_ms"]) // 1000
    return Grant(
        id=row["id"],
        scope=Scope(**{name: row[name] for name in _SCOPE}),
        terms=Terms(lasts_s, row["max_uses"], row["max_cost_microusd"]),
        votes=votes,
        uses=row["uses"],
        created_at_ms=row["created_at_ms"],
        deadline=Moment(row["until_ms"], row["until_boot"], row["until_s"]),
        revoked_at_ms=row["revoked_at_ms"],
        revoked_by=row["revoked_by"],
        approval=row["approval"],
        reason=row["reason"],
    )
