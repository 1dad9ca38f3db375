"""Messages to approvers, in the database until they are delivered.

What is to be told is read from the approvals themselves, so that nothing is lost between a decision and its message,
whichever process made it. Messages about one approval go to a channel one after the other. A message is delivered at
least once; its id says which one it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, exists, insert, or_, select, update

from proxy.approval.states import State
from proxy.db.engine import take_turns, writing
from proxy.db.tables import approval_messages, approvals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Engine, Select

    from proxy.clock import Clock

LEASE_MS: Final = 60_000
"""How long whoever has taken a message may try, before another does."""
LOOK_BACK_MS: Final = 24 * 3600 * 1000
GIVE_UP_MS: Final = 24 * 3600 * 1000
MAX_ATTEMPTS: Final = 50
MAX_WAIT_S: Final = 600
BATCH: Final = 8


@dataclass(frozen=True, slots=True)
class Audience:
    """What a channel is told of: the approvals of `tenant`, None for all; and, where `ends`, how they ended."""

    tenant: str | None
    ends: bool


@dataclass(frozen=True, slots=True)
class Message:
    """One that is to be delivered now; `due_at_ms` is the lease."""

    id: str
    channel: str
    approval: str
    state: State
    attempts: int
    created_at_ms: int
    due_at_ms: int


class Outbox:
    """The table `approval_messages`. Methods block for a small transaction."""

    def __init__(self, database: Engine, clock: Clock) -> None:
        self._database: Final = database
        self._clock: Final = clock

    def plan(self, channels: Mapping[str, Audience]) -> int:
        """Write down what is to be told to `channels`; how many messages."""
        with self._database.connect() as connection:
            if not any(self._untold(connection, name, whom) for name, whom in channels.items()):
                return 0
        with writing(self._database) as connection:
            take_turns(connection, "messages to approvers")
            found = [
                (name, id_, state)
                for name, whom in channels.items()
                for id_, state in self._untold(connection, name, whom)
            ]
            now_ms = self._clock.wall_ms()
            for name, id_, state in found:
                connection.execute(
                    insert(approval_messages).values(
                        id=f"{name}:{id_}:{state}",
                        channel=name,
                        approval=id_,
                        state=state,
                        created_at_ms=now_ms,
                        due_at_ms=now_ms,
                        attempts=0,
                        delivered=False,
                    )
                )
        return len(found)

    def take(self, channels: tuple[str, ...]) -> tuple[Message, ...]:
        """Messages that are due, for this caller alone as long as the lease lasts."""
        now_ms, rows = self._clock.wall_ms(), approval_messages.c
        due = and_(rows.ended_at_ms.is_(None), rows.due_at_ms <= now_ms, rows.channel.in_(channels))
        with self._database.connect() as connection:
            found = (
                connection.execute(select(approval_messages).where(due).order_by(rows.due_at_ms).limit(BATCH))
                .mappings()
                .all()
            )
        taken = []
        for row in found:
            message = Message(
                row["id"], row["channel"], row["approval"], State(row["state"]), row["attempts"] + 1,
                row["created_at_ms"], now_ms + LEASE_MS,
            )  # fmt: skip
            same = and_(rows.id == message.id, rows.due_at_ms == row["due_at_ms"], rows.ended_at_ms.is_(None))
            with writing(self._database) as connection:
                lease = update(approval_messages).where(same)
                if connection.execute(lease.values(due_at_ms=message.due_at_ms, attempts=message.attempts)).rowcount:
                    taken.append(message)
        return tuple(taken)

    def delivered(self, message: Message, note: str | None) -> None:
        """It has arrived; `note` is for later messages about the same approval."""
        self._set(message, delivered=True, ended_at_ms=self._clock.wall_ms(), note=note)

    def failed(self, message: Message, retry_after_s: int | None) -> bool:
        """It has not; it is tried again later and later, until that makes no sense. Whether it is given up."""
        now_ms = self._clock.wall_ms()
        if message.attempts >= MAX_ATTEMPTS or now_ms - message.created_at_ms > GIVE_UP_MS:
            self._set(message, ended_at_ms=now_ms)
            return True
        wait_s = max(retry_after_s or 0, min(2 ** min(message.attempts, 10), MAX_WAIT_S))
        self._set(message, due_at_ms=now_ms + wait_s * 1000)
        return False

    def note(self, channel: str, approval: str) -> str | None:
        """What was noted with the first message about that approval."""
        rows = approval_messages.c
        first = and_(rows.channel == channel, rows.approval == approval, rows.state == State.PENDING.value)
        with self._database.connect() as connection:
            found: str | None = connection.execute(select(rows.note).where(first)).scalar()
        return found

    def _set(self, message: Message, **values: object) -> None:
        ours = and_(approval_messages.c.id == message.id, approval_messages.c.due_at_ms == message.due_at_ms)
        with writing(self._database) as connection:
            connection.execute(update(approval_messages).where(ours).values(**values))

    def _untold(self, connection: Connection, channel: str, whom: Audience) -> list[tuple[str, str]]:
        return [(row.id, row.state) for row in connection.execute(_untold(channel, whom, self._clock.wall_ms()))]


def _untold(channel: str, whom: Audience, now_ms: int) -> Select[tuple[str, str]]:
    """Pending ones of which the channel knows nothing; where `ends`, others whose first message has arrived."""
    rows, about = approvals.c, approval_messages.c
    here = and_(about.channel == channel, about.approval == rows.id)
    told = exists().where(here, about.state == rows.state)
    under_way = exists().where(here, about.ended_at_ms.is_(None))
    first = exists().where(here, about.state == State.PENDING.value, about.delivered)
    new = and_(rows.state == State.PENDING.value, rows.until_ms > now_ms)
    wanted = or_(new, and_(rows.state != State.PENDING.value, first)) if whom.ends else new
    if whom.tenant is not None:
        wanted = and_(wanted, rows.tenant == whom.tenant)
    recent = rows.changed_at_ms > now_ms - LOOK_BACK_MS
    return select(rows.id, rows.state).where(wanted, recent, ~told, ~under_way).order_by(rows.created_at_ms).limit(100)
