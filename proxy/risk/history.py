"""`History`: what every agent has been allowed to call, kept in the database and, for those at work, in memory.

`past()` reads an agent's rows once; from then on `note()` adds to the value in memory at once, and to the database
within a second. Rows that other sidecars write are read again every half minute. Whatever cannot be read is unknown,
which counts as the worst there is; what a crash loses are calls of the last second.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from proxy.db.engine import writing
from proxy.db.threads import in_thread
from proxy.risk import uses
from proxy.risk.circumstances import HOUR_MS, Past

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from proxy.clock import Clock
    from proxy.model import Agent
    from proxy.risk.uses import Key, Row

WRITE_S: Final = 1.0
READ_AGAIN_S: Final = 30.0
STALE_S: Final = 120.0
"""After this long without a reading, what is in memory is not believed any more."""
MAX_AGENTS: Final = 10_000
MAX_UNWRITTEN: Final = 100_000
FORGET_EVERY_S: Final = 3600.0
READ_WITHIN_S: Final = 2.0
RETRY_S: Final = 1.0


@dataclass(slots=True)
class _Known:
    """One agent's past as it was read at `read_s`, with what was noted since."""

    past: Past | None
    read_s: float
    used: bool = True


@dataclass(slots=True)
class _Unwritten:
    """Calls that are not in the database yet."""

    rows: Counter[Row] = field(default_factory=Counter)

    def of(self, key: Key) -> list[Row]:
        """Those of one agent, in the order of their hours."""
        return sorted((row for row in self.rows if row.key == key), key=lambda row: row.hour)


class History:
    """One instance per process; for one event loop."""

    def __init__(self, database: Engine, *, clock: Clock) -> None:
        self._database: Final = database
        self._clock: Final = clock
        self._known: Final[OrderedDict[Key, _Known]] = OrderedDict()
        self._unwritten = _Unwritten()
        self._busy: Final = asyncio.Lock()
        self._forgot_s = clock.monotonic_s()

    async def past(self, agent: Agent) -> Past | None:
        """What `agent` has been allowed to call; None where it cannot be read now."""
        key = (agent.tenant, agent.name)
        known = self._fresh(key)
        if known is None:
            try:
                async with asyncio.timeout(READ_WITHIN_S), self._busy:
                    known = self._fresh(key) or await self._read(key)
            except TimeoutError:
                return None
        known.used = True
        self._known.move_to_end(key)
        return known.past

    def _fresh(self, key: Key) -> _Known | None:
        known = self._known.get(key)
        return known if known is not None and self._clock.monotonic_s() - known.read_s <= STALE_S else None

    def note(self, agent: Agent, profile: str, operation: str, host: str) -> None:
        """`agent` was allowed a call. Never blocks, never raises."""
        key, hour = (agent.tenant, agent.name), self._clock.wall_ms() // HOUR_MS
        row = uses.Row(*key, profile, operation, host, hour)
        if row in self._unwritten.rows or len(self._unwritten.rows) < MAX_UNWRITTEN:
            self._unwritten.rows[row] += 1
        known = self._known.get(key)
        if known is not None and known.past is not None:
            known.past = uses.bounded(known.past.plus((profile, operation), host, hour))

    async def watch(self) -> None:
        """Write what was noted, and read again what others have written, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_S)
            async with self._busy:
                await self._write()
                for key, known in tuple(self._known.items()):
                    if known.used and self._clock.monotonic_s() - known.read_s > READ_AGAIN_S:
                        await self._read(key, used=False)

    async def close(self) -> None:
        """Write what is left."""
        async with self._busy:
            await self._write()

    async def _write(self) -> None:
        """What cannot be written stays for the next time."""
        forget = self._clock.monotonic_s() - self._forgot_s > FORGET_EVERY_S
        if not self._unwritten.rows and not forget:
            return
        rows, self._unwritten = self._unwritten.rows, _Unwritten()
        try:
            await in_thread(self._written, rows, forget=forget)
        except SQLAlchemyError:
            self._unwritten.rows.update(rows)
            return
        if forget:
            self._forgot_s = self._clock.monotonic_s()

    def _written(self, rows: Counter[Row], *, forget: bool) -> None:
        with writing(self._database) as connection:
            uses.add(connection, rows)
            if forget:
                uses.forget(connection, now_hour=self._clock.wall_ms() // HOUR_MS)

    async def _read(self, key: Key, *, used: bool = True) -> _Known:
        """Its past as the database has it, with what is not written yet. Only ever one at a time, under the lock."""
        try:
            past = await in_thread(self._from_database, key)
        except SQLAlchemyError:
            if (old := self._fresh(key)) is not None:
                return old
            past = None
        for row in self._unwritten.of(key):  # those noted while it was read are among them
            for _ in range(self._unwritten.rows[row]):
                past = past and uses.bounded(past.plus((row.profile, row.operation), row.host, row.hour))
        read_s = self._clock.monotonic_s() - (0.0 if past is not None else STALE_S - RETRY_S)
        known = self._known[key] = _Known(past, read_s, used)
        while len(self._known) > MAX_AGENTS:
            self._known.popitem(last=False)
        return known

    def _from_database(self, key: Key) -> Past | None:
        with self._database.connect() as connection:
            return uses.past_of(connection, key, now_hour=self._clock.wall_ms() // HOUR_MS)
