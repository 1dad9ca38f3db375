"""Work that is done once for everybody who waits for it, and to its end even where all of them go away."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Hashable


@dataclass(frozen=True, slots=True, eq=False)
class _Work[R]:
    made_from: object
    done: asyncio.Future[R | Refused]


class UnderWay[K: Hashable, R]:
    """At most one piece of work goes on for each key. Whoever is cancelled while it waits cancels nothing.

    A waiter that an agent has given up must not let the next one begin the same work again beside it.
    """

    def __init__(self, spawn: Callable[[Coroutine[None, None, None]], object]) -> None:
        self._spawn: Final = spawn
        self._works: Final[dict[K, _Work[R]]] = {}

    def __bool__(self) -> bool:
        return bool(self._works)

    async def wait(self, key: K, made_from: object, work: Callable[[], Awaitable[R]]) -> R:
        """What the work that goes on for `key` and `made_from` comes to, or `work`, begun now. Raises its `Refused`."""
        done = await asyncio.shield(self.begin(key, made_from, work))
        if isinstance(done, Refused):
            raise Refused(done.denial)
        return done

    def begin(self, key: K, made_from: object, work: Callable[[], Awaitable[R]]) -> asyncio.Future[R | Refused]:
        """As `wait`, without waiting. What goes on for `key` from something else ends before `work` begins."""
        before = self._works.get(key)
        if before is not None and before.made_from == made_from:
            return before.done
        begun: _Work[R] = _Work(made_from, asyncio.get_running_loop().create_future())
        self._spawn(self._run(key, begun, before, work))
        self._works[key] = begun
        return begun.done

    async def _run(self, key: K, begun: _Work[R], before: _Work[R] | None, work: Callable[[], Awaitable[R]]) -> None:
        try:
            if before is not None:
                await asyncio.wait([before.done])
            begun.done.set_result(await work())
        except Refused as refused:
            begun.done.set_result(refused)
        finally:
            if self._works.get(key) is begun:
                del self._works[key]
            begun.done.cancel()  # the process ends; without effect where there is a result
