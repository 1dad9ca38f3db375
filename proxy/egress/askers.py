"""Threads in which the system's resolver is asked: a bounded number, shared out fairly, for which no process waits."""

from __future__ import annotations

import threading
from collections import Counter, deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MANY: Final = 256
"""With more of one agent waiting, those that are cancelled are forgotten before their turn comes."""


class Askers[T]:
    """At most `threads`, and for one agent at most `each` of them; further questions wait for their turn.

    A question that nobody answers holds its thread until the system's resolver gives up, whoever asked it is gone by
    then or not. The threads are daemons: the process ends without them.
    """

    def __init__(self, ask: Callable[[str], T], *, threads: int, each: int, name: str) -> None:
        self._ask: Final = ask
        self._threads: Final = threads
        self._each: Final = each
        self._name: Final = name
        self._lock: Final = threading.Lock()
        self._waiting: Final[dict[str, deque[tuple[Future[T], str]]]] = {}
        self._busy: Final[Counter[str]] = Counter()

    def ask(self, question: str, agent: str) -> Future[T]:
        """The answer, or what asking raises; `OSError` where no thread can be had.

        One that is cancelled before its turn is not asked.
        """
        future: Future[T] = Future()
        with self._lock:
            questions = self._waiting.setdefault(agent, deque())
            questions.append((future, question))
            if len(questions) > MANY:
                self._waiting[agent] = deque(one for one in questions if not one[0].cancelled())
            found = self._next()
        if found is not None:
            self._start(*found)
        return future

    def _next(self) -> tuple[Future[T], str, str] | None:
        """The question whose turn it is, of the agent with the fewest threads; it has one from now on."""
        for agent in sorted(self._waiting, key=self._busy.__getitem__):
            if self._busy.total() >= self._threads or self._busy[agent] >= self._each:
                break
            questions = self._waiting.pop(agent)
            while questions:
                future, question = questions.popleft()
                if future.set_running_or_notify_cancel():
                    self._busy[agent] += 1
                    if questions:
                        self._waiting[agent] = questions  # behind the others
                    return future, question, agent
        return None

    def _start(self, future: Future[T], question: str, agent: str) -> None:
        thread = threading.Thread(target=self._run, args=(future, question, agent), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the machine has no more threads
            with self._lock:
                self._left(agent)
            future.set_exception(OSError(str(error)))

    def _left(self, agent: str) -> None:
        self._busy[agent] -= 1
        if not self._busy[agent]:
            del self._busy[agent]

    def _run(self, future: Future[T], question: str, agent: str) -> None:
        found: tuple[Future[T], str, str] | None = (future, question, agent)
        while found is not None:
            future, question, agent = found
            try:
                future.set_result(self._ask(question))
            except Exception as error:  # noqa: BLE001  # whoever waits is told
                future.set_exception(error)
            with self._lock:
                self._left(agent)
                found = self._next()
