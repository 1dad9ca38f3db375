"""What is locked, and which task tokens are revoked: one table for every process, read again and again.

A request asks what was read last, which costs nothing. What was read too long ago is not believed (P5).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from proxy.db.engine import take_turns, writing
from proxy.db.tables import locks
from proxy.db.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Engine

    from proxy.clock import Clock

_log: Final = logging.getLogger("proxy.locks")
EVERY_S: Final = 0.3
STALE_S: Final = 5.0
ALL: Final = "all"
TOKEN: Final = "token"  # noqa: S105  # a kind of row
KINDS: Final = (ALL, "tenant", "agent", "user", "account", "provider", TOKEN)
"""What a row stops. Of `all` the name is empty; a `token` is revoked, the others are locked."""
MAX_REASON_CHARACTERS: Final = 200

type Key = tuple[str, str]
"""Kind and name."""


@dataclass(frozen=True, slots=True)
class Lock:
    """One row. `by` says who set it."""

    kind: str
    name: str
    reason: str
    by: str
    at_ms: int

    @property
    def key(self) -> Key:
        """What it stops."""
        return self.kind, self.name


class Locks:
    """The table as it was read last. `changed` is told what was added and lifted, also at the first reading."""

    def __init__(
        self, database: Engine, clock: Clock, *, changed: Callable[[list[Lock], list[Lock]], None] = lambda _a, _b: None
    ) -> None:
        self._database: Final = database
        self._clock: Final = clock
        self._changed: Final = changed
        self._now: dict[Key, Lock] = {}
        self._read_s = float("-inf")
        self._unread = False

    @property
    def stale(self) -> bool:
        """Whether what was read last is too old to be believed."""
        return self._clock.monotonic_s() - self._read_s > STALE_S

    def holds(self, keys: Iterable[Key]) -> bool:
        """Whether one of these is locked."""
        return any(key in self._now for key in keys)

    def revoked(self, ids: Iterable[str]) -> bool:
        """Whether a task token with blocks of these ids is revoked."""
        return self.holds((TOKEN, one) for one in ids)

    async def refresh(self) -> None:
        """Read the table."""
        began_s = self._clock.monotonic_s()
        try:
            found = {lock.key: lock for lock in await in_thread(listed, self._database)}
        except SQLAlchemyError as error:
            if not self._unread:  # once for as long as it lasts
                _log.error("locks cannot be read, so soon nothing is let through: %s", type(error).__name__)
            self._unread = True
            return
        if self._unread:
            _log.info("locks can be read again")
        self._unread = False
        before, self._now, self._read_s = self._now, found, began_s
        added = [lock for key, lock in found.items() if before.get(key) != lock]
        lifted = [lock for key, lock in before.items() if key not in found]
        if added or lifted:
            self._changed(added, lifted)

    async def watch(self) -> None:
        """Read it again and again."""
        while True:
            await self.refresh()
            await asyncio.sleep(EVERY_S)


def listed(database: Engine) -> list[Lock]:
    """Every row, the oldest first."""
    with database.connect() as connection:
        rows = connection.execute(select(locks).order_by(locks.c.at_ms, locks.c.kind, locks.c.name)).all()
    return [Lock(row.kind, row.name, row.reason, row.by, row.at_ms) for row in rows]


def lock(database: Engine, keys: Iterable[Key], *, reason: str, by: str, clock: Clock) -> None:
    """Stop all of `keys`; the reason of one that is locked already is replaced."""
    now_ms = clock.wall_ms()
    with writing(database) as connection:
        take_turns(connection, "locks")
        for kind, name in keys:
            connection.execute(delete(locks).where(locks.c.kind == kind, locks.c.name == name))
            row = {"kind": kind, "name": name, "reason": reason, "by": by, "at_ms": now_ms}
            connection.execute(insert(locks).values(row))


def unlock(database: Engine, keys: Iterable[Key]) -> list[Key]:
    """Let go of `keys`; those that were locked."""
    with writing(database) as connection:
        take_turns(connection, "locks")
        return [
            (kind, name)
            for kind, name in keys
            if connection.execute(delete(locks).where(locks.c.kind == kind, locks.c.name == name)).rowcount
        ]
