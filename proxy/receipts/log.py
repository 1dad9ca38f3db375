"""`ReceiptLog`: decisions are durable before `record_decision` returns; outcomes are never dropped.

One writer thread appends what has gathered in one transaction: many requests, one synchronisation of the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Self

from sqlalchemy.exc import SQLAlchemyError

from proxy.errors import BriefcaseError, Denial, Refused
from proxy.exchange import Outcome
from proxy.receipts.ids import ReceiptIds
from proxy.receipts.recovery import end_chain, has_ended, open_chain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sqlalchemy import Connection, Engine

    from proxy.clock import Clock
    from proxy.receipts.appender import Appender
    from proxy.receipts.locks import ChainLock
    from proxy.receipts.record import Value

_log: Final = logging.getLogger("proxy.receipts")
MAX_WAITING: Final = 10_000
MAX_BATCH: Final = 512
DURABLE_WITHIN_S: Final = 5.0
FLUSH_WITHIN_S: Final = 15.0
RETRY_S: Final = 0.25
OUTCOME_WAITS_S: Final = 0.02
FOREVER_S: Final = 3600.0
_KEPT: Final = ("outcome", "note")
"""Nobody waits for them, and they are tried until they are written."""


class _Try(Enum):
    """What became of an attempt to write."""

    WRITTEN = "written"
    BAD = "bad"
    UNAVAILABLE = "unavailable"


@dataclass(slots=True, eq=False)
class _Entry:
    """What waits for the writer. A decision has a future; `None` in the queue ends the thread."""

    kind: str
    fields: Mapping[str, Value]
    future: asyncio.Future[bool] | None = None


class ReceiptLog:
    """One chain, held by this process. `record_*` are for one event loop."""

    def __init__(self, *, database: Engine, appender: Appender, lock: ChainLock, ids: ReceiptIds) -> None:
        self._database: Final = database
        self._appender: Final = appender
        self._lock: Final = lock
        self._ids: Final = ids
        self._queue: Final[queue.SimpleQueue[_Entry | None]] = queue.SimpleQueue()
        self._loop: Final = asyncio.get_running_loop()
        self._thread: Final = threading.Thread(target=self._write, name="receipts", daemon=True)
        self._writable = True
        self._connection: Connection | None = None
        self._thread.start()

    @classmethod
    def open(cls, *, database: Engine, home: Path, label: str, clock: Clock, resume: bool) -> Self:
        """Recover what a crash left, then open a chain. Call inside a running loop.

        Raises:
            BriefcaseError: receipts cannot be written.
        """
        ids = ReceiptIds(clock)
        try:
            appender, lock = open_chain(database, home, label, clock, ids, resume=resume)
        except (SQLAlchemyError, OSError) as error:
            raise BriefcaseError(f"receipts cannot be written to {home} ({type(error).__name__})") from None
        return cls(database=database, appender=appender, lock=lock, ids=ids)

    @property
    def chain(self) -> str:
        """The chain's id."""
        return self._appender.chain

    def is_over(self, owner: str) -> bool:
        """Whether `owner`, a process named `chain/…`, is gone for sure: its chain is ended here, or is ours now.

        Reads the database; a chain of another machine is not known here.
        """
        chain = owner.rpartition("/")[0]
        return chain == self.chain or has_ended(self._database, chain)

    @property
    def writable(self) -> bool:
        """Whether the last write went through."""
        return self._writable and self._thread.is_alive()

    def new_id(self) -> str:
        """An id for a receipt; they sort by time."""
        return self._ids.new()

    async def record_decision(self, fields: Mapping[str, Value]) -> None:
        """Return when the decision is durable.

        Raises:
            Refused: `receipt_unavailable`; it could not be written, or not in time.
        """
        await self._durable("decision", fields)

    async def record_change(self, fields: Mapping[str, Value]) -> None:
        """Return when it is durable that somebody is about to change what the sidecar does.

        Raises:
            Refused: `receipt_unavailable`; nothing may be changed then.
        """
        await self._durable("change", {"id": self._ids.new(), **fields})

    async def _durable(self, kind: str, fields: Mapping[str, Value]) -> None:
        if not self._thread.is_alive() or self._queue.qsize() > MAX_WAITING:
            raise Refused(_unavailable())
        future: asyncio.Future[bool] = self._loop.create_future()
        self._queue.put(_Entry(kind, fields, future))
        try:
            async with asyncio.timeout(DURABLE_WITHIN_S):
                durable = await future
        except TimeoutError:
            # The loop may have stood still while the write went through: then it is durable after all.
            durable = future.done() and not future.cancelled() and future.result()
        except asyncio.CancelledError:
            # The write may have gone through between its end and our waking up; then nobody else ends it.
            if future.done() and not future.cancelled() and future.result():
                self._end_unused(fields)
            raise
        if not durable:
            raise Refused(_unavailable())

    def record_outcome(self, fields: Mapping[str, Value]) -> None:
        """Queue the outcome of an allowed decision. Never blocks, never raises; it is retried until written."""
        self._queue.put(_Entry("outcome", {"id": self._ids.new(), **fields}))

    def record_note(self, fields: Mapping[str, Value]) -> None:
        """Queue what belongs to no call, as what the operator stops. Retried as outcomes are."""
        self._queue.put(_Entry("note", {"id": self._ids.new(), **fields}))

    async def flush(self) -> None:
        """Return when everything recorded so far is durable, or could not be written in time."""
        marker: asyncio.Future[bool] = self._loop.create_future()
        self._queue.put(_Entry("flush", {}, marker))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(marker, FLUSH_WITHIN_S)

    async def close(self) -> None:
        """Write what is left, close the chain and let it go."""
        if not self._thread.is_alive():
            return
        await self.flush()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        try:
            end_chain(self._database, self._appender, self._ids, "closed")
        except SQLAlchemyError:
            _log.error("the chain could not be closed; it will be at the next start")
        self._lock.release()

    def _end_unused(self, fields: Mapping[str, Value]) -> None:
        """A decision that became durable when nobody waited for it any more."""
        if fields.get("decision") == "allow":  # a change has none
            of, outcome = fields["id"], Outcome.NOT_SENT.value
            self.record_outcome({"of": of, "outcome": outcome, "error": "abandoned"})

    # -- the writer's thread -------------------------------------------------------------------------------------

    def _write(self) -> None:
        kept: list[_Entry] = []
        ended = False
        while not ended or kept:
            batch, ended = self._gather(kept, ended=ended)
            outcomes_left = self._append(batch)
            if outcomes_left and ended:
                _log.error("%d outcomes could not be written", len(outcomes_left))
                break
            kept = outcomes_left
        if self._connection is not None:
            self._connection.close()

    def _gather(self, kept: list[_Entry], *, ended: bool) -> tuple[list[_Entry], bool]:
        """What to write now: what was kept, and everything that waits, at most a batch; and whether it is the last.

        Outcomes alone wait a moment for a decision, and share its synchronisation of the disk.
        """
        batch = kept
        if ended:
            return batch, True
        until_s = time.monotonic() + (RETRY_S if kept else float("inf"))
        while len(batch) < MAX_BATCH:
            try:
                left_s = min(until_s - time.monotonic(), FOREVER_S)
                entry = self._queue.get(timeout=left_s) if left_s > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
            if entry is None:
                return batch, True
            batch.append(entry)
            until_s = 0.0 if entry.kind not in _KEPT else min(until_s, time.monotonic() + OUTCOME_WAITS_S)
        return batch, False

    def _append(self, batch: list[_Entry]) -> list[_Entry]:
        """Write `batch`; returns the outcomes that must be tried again."""
        entries = [entry for entry in batch if entry.kind != "flush"]
        result = self._try(entries) if entries else _Try.WRITTEN
        failed: list[_Entry] = []
        if result is _Try.UNAVAILABLE:
            failed = entries
        elif result is _Try.BAD:  # one bad record must not stand in the way of the others
            failed = [entry for entry in entries if len(entries) == 1 or self._try([entry]) is not _Try.WRITTEN]
        self._writable = result is not _Try.UNAVAILABLE
        lost = set(map(id, failed))
        answers = [(entry, id(entry) not in lost) for entry in batch if entry.future is not None]
        if answers:
            self._loop.call_soon_threadsafe(self._answer, answers)
        return [entry for entry in failed if entry.kind in _KEPT] if result is _Try.UNAVAILABLE else []

    def _try(self, entries: list[_Entry]) -> _Try:
        try:
            if self._connection is None:
                self._connection = self._database.connect().execution_options(immediate=True)
                self._appender.resynchronise(self._connection)
            self._appender.append([(entry.kind, entry.fields) for entry in entries], self._connection)
        except (sqlite3.IntegrityError, ValueError) as error:
            _log.error("a receipt is not acceptable: %s", type(error).__name__)
            return _Try.BAD
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            _log.error("receipts cannot be written: %s", type(error).__name__)
            if self._connection is not None:
                self._connection.invalidate()
                self._connection.close()
                self._connection = None
            return _Try.UNAVAILABLE
        return _Try.WRITTEN

    def _answer(self, answers: list[tuple[_Entry, bool]]) -> None:
        for entry, durable in answers:
            assert entry.future is not None
            if not entry.future.done():
                entry.future.set_result(durable)
            elif durable and entry.kind == "decision":
                self._end_unused(entry.fields)


def _unavailable() -> Denial:
    return Denial("receipt_unavailable", "The decision could not be recorded.", by="receipts", retry_after_s=1)
