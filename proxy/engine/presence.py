"""Whether an agent from whom nobody reads is still there: its socket is asked, as no read would tell."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from proxy.engine.sockets import has_left, is_over, keep_alive

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_S: Final = 1.0
"""How often the socket is asked."""


class Presence:
    """The agent at the other end of `writer`. `gone` is called once, where a half-closed agent is found to be gone."""

    def __init__(self, writer: asyncio.StreamWriter, *, gone: Callable[[], None]) -> None:
        self._writer: Final = writer
        self._gone: Final = gone
        self._stopped = False

    def has_left(self) -> bool:
        """Whether an agent that we have paused has reset or ended its connection meanwhile."""
        return self._writer.transport.is_closing() or has_left(self._writer.get_extra_info("socket"))

    def watch_half_closed(self) -> None:
        """The agent has shut its sending side and waits for answers: look from now on whether it still does."""
        keep_alive(self._writer.get_extra_info("socket"))
        self._look()

    def stop(self) -> None:
        """The connection has ended: nobody asks any more."""
        self._stopped = True

    def _look(self) -> None:
        if self._stopped:
            return
        if self._writer.transport.is_closing() or is_over(self._writer.get_extra_info("socket")):
            self._gone()
        else:
            asyncio.get_running_loop().call_later(LOOK_S, self._look)
