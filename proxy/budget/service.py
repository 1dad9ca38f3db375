"""`Budgets`: reservations of many requests in one transaction, by one thread; a request waits until its own is durable.

A reservation that cannot be written refuses (P5, K-02). A settlement that cannot be written is tried again until it is:
the hold stands meanwhile, so nothing is overshot.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from proxy.budget import ledger
from proxy.budget.limits import Exhausted, Reserved
from proxy.db.engine import writing
from proxy.errors import Denial, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection, Engine

    from proxy.budget.limits import Plan
    from proxy.clock import Clock

_log: Final = logging.getLogger("proxy.budget")
MAX_WAITING: Final = 10_000
MAX_BATCH: Final = 256
WITHIN_S: Final = 5.0
RENEW_S: Final = 15.0
RETRY_S: Final = 0.25
CATCH_UP: Final = 2
"""How much faster than time passes the clock of forgetting may go: it stands while no process runs.

Counters are kept for twice the longest window, so that it has passed even then.
"""


@dataclass(slots=True, eq=False)
class _Task:
    """Something to be done to the ledger. A future waits for its result; without one it is tried until it is done."""

    do: Callable[[Connection, int], object]
    future: asyncio.Future[object] | None = None
    result: object = field(default=None)


class TooLateError(Refused):
    """No answer in time: whether it is written is not known."""


class Budgets:
    """One instance per process; for one event loop."""

    def __init__(self, database: Engine, *, owner: str, clock: Clock) -> None:
        """`owner` names this process among all that share the database."""
        self._database: Final = database
        self._owner: Final = owner
        self._clock: Final = clock
        self._queue: Final[queue.SimpleQueue[_Task | None]] = queue.SimpleQueue()
        self._loop: Final = asyncio.get_running_loop()
        self._thread: Final = threading.Thread(target=self._run, name="budgets", daemon=True)
        self._stopping = False
        self._forgot: tuple[int, float] | None = None  # the clock of forgetting, and ours when it said so
        self._thread.start()

    async def reserve(self, id_: str, plan: Plan) -> Reserved:
        """Take what `plan` says, for the request with the receipt `id_`.

        Raises:
            Refused: budget_exceeded, rate_limited, budget_unavailable.
        """
        if not plan:
            return Reserved(id_, plan)
        try:
            return await self._found(lambda c, now_ms: ledger.reserve(c, id_, plan, owner=self._owner, now_ms=now_ms))
        except (TooLateError, asyncio.CancelledError):
            self.release(id_)  # it may still be written: then it is given back
            raise

    async def look(self, plan: Plan) -> Reserved:
        """What reserving `plan` would find now; takes nothing. Raises as `reserve`."""
        if not plan.charges:
            return Reserved("", plan)
        return await self._found(lambda c, now_ms: ledger.look(c, plan, now_ms=now_ms))

    async def _found(self, do: Callable[[Connection, int], object]) -> Reserved:
        """Raises `Refused`."""
        if self._stopping or not self._thread.is_alive() or self._queue.qsize() > MAX_WAITING:
            raise Refused(_unavailable())
        future: asyncio.Future[object] = self._loop.create_future()
        self._queue.put(_Task(do, future))
        try:
            async with asyncio.timeout(WITHIN_S):
                result = await asyncio.shield(future)
        except TimeoutError:
            raise TooLateError(_unavailable()) from None
        match result:
            case Reserved():
                return result
            case Exhausted():
                raise Refused(_refusal(result, self._clock.wall_ms()))
            case _:
                raise Refused(_unavailable())

    def settle(self, id_: str, used: Mapping[str, int]) -> None:
        """What the request really used, by unit; an unknown unit counts as reserved. Never blocks, never raises."""
        counted = dict(used)
        self._queue.put(_Task(lambda c, _: ledger.settle(c, id_, counted)))

    def release(self, id_: str) -> None:
        """The request was never sent. Never blocks, never raises."""
        self._queue.put(_Task(lambda c, _: ledger.release(c, id_)))

    async def watch(self) -> None:
        """Say that this process is alive, and settle what dead ones left, until cancelled."""
        while True:
            self._queue.put(_Task(lambda c, now_ms: ledger.renew(c, self._owner, now_ms=now_ms)))
            self._queue.put(_Task(self._sweep))
            self._queue.put(_Task(self._forget))
            await asyncio.sleep(RENEW_S)

    def bury(self, is_dead: Callable[[str], bool]) -> None:
        """Settle at once what other processes left behind, where `is_dead` says so of the owner. Never blocks."""

        def settled(connection: Connection, _now_ms: int) -> None:
            self._tell(ledger.bury(connection, lambda owner: owner != self._owner and is_dead(owner)))

        self._queue.put(_Task(settled))

    async def close(self) -> None:
        """Write what is left, then stop."""
        self._stopping = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, WITHIN_S)

    def _sweep(self, connection: Connection, now_ms: int) -> None:
        self._tell(ledger.sweep(connection, now_ms=now_ms))

    def _forget(self, connection: Connection, now_ms: int) -> None:
        """What is old by time that has passed here, whatever the wall clock says; for all processes together."""
        at_s, until_ms = self._clock.monotonic_s(), None
        if self._forgot is not None:
            told_ms, then_s = self._forgot
            until_ms = told_ms + int((at_s - then_s) * 1000 * CATCH_UP)
        self._forgot = ledger.forget(connection, now_ms=now_ms, until_ms=until_ms), at_s

    @staticmethod
    def _tell(left: tuple[str, ...]) -> None:
        for id_ in left:
            _log.warning("the reservation of %s was left behind; it counts as used", id_)

    # -- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        ending = False
        while not ending:
            batch = [self._queue.get()]
            while len(batch) < MAX_BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            ending = None in batch
            tasks = [task for task in batch if task is not None]
            while tasks := self._left_of(tasks):
                if self._stopping:
                    _log.error("%d settlements could not be written; they count as reserved", len(tasks))
                    return
                time.sleep(RETRY_S)

    def _left_of(self, tasks: list[_Task]) -> list[_Task]:
        """Do `tasks` together, else each by itself; those to be tried again. Whoever waits is told either way."""
        groups = [tasks] if self._written(tasks) else [[task] for task in tasks]
        left = []
        for group in groups:
            done = group is tasks or self._written(group)
            for task in group:
                if task.future is not None:
                    self._loop.call_soon_threadsafe(_answer, task.future, task.result if done else None)
                elif not done:
                    left.append(task)
        return left

    def _written(self, tasks: list[_Task]) -> bool:
        try:
            with writing(self._database) as connection:
                now_ms = ledger.begin(connection, self._clock)
                for task in tasks:
                    task.result = task.do(connection, now_ms)
        except (SQLAlchemyError, ledger.SkewError, OverflowError):  # the last: an amount that no column holds
            return False
        return True


def _answer(future: asyncio.Future[object] | None, result: object) -> None:
    if future is not None and not future.done():
        future.set_result(result)


def _refusal(found: Exhausted, now_ms: int) -> Denial:
    wait_s = None if found.resets_at_ms is None else max(1, -(-(found.resets_at_ms - now_ms) // 1000))
    if found.rate:
        detail = "Calls of this kind follow each other too fast."
        return Denial("rate_limited", detail, by="reserve", retry_after_s=wait_s, extra={"limit": found.name})
    extra: dict[str, str | int | list[str]] = {"budget": found.name, "unit": found.unit, "left": found.left}
    if found.resets_at_ms is not None:
        extra["resets_at_ms"] = found.resets_at_ms
    return Denial("budget_exceeded", "A budget is used up.", by="reserve", retry_after_s=wait_s, extra=extra)


def _unavailable() -> Denial:
    return Denial("budget_unavailable", "Budgets cannot be read or written now.", by="reserve", retry_after_s=5)
