"""The deadlines of one agent connection: its idle time, its next request head, its streams (P7)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.engine.commands import WatchStream
    from proxy.engine.pins import Pinned

LOOK_AGAIN_S: Final = 1.0
"""How soon a connection is looked at again whose idle time is over, but for which an addon still works."""


class Clocks:
    """Runs the deadlines on the event loop of whoever calls `start`.

    Args:
        options: `header_timeout_s` and `idle_timeout_s`.
        held: whether an addon works for the connection; it is not idle then.
        idle: called when nothing has happened for `idle_timeout_s`.
        head_late: called when a head, or a handshake, has begun and is not complete after `header_timeout_s`.
        stream_late: called with a stream whose own clock has run out.
    """

    def __init__(
        self,
        options: Pinned,
        *,
        held: Callable[[], bool],
        idle: Callable[[], None],
        head_late: Callable[[], None],
        stream_late: Callable[[object], None],
    ) -> None:
        self._options: Final = options
        self._held: Final = held
        self._idle: Final = idle
        self._head_late: Final = head_late
        self._stream_late: Final = stream_late
        self._idle_timer: asyncio.TimerHandle | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._streams: Final[dict[object, asyncio.TimerHandle]] = {}
        self._last_activity_s = time.monotonic()

    def start(self) -> None:
        """The connection is open: nothing has come yet, so its first head is awaited as well."""
        self._idle_timer = asyncio.get_running_loop().call_later(self._options.idle_timeout_s, self._check_idle)
        self.await_head(begun=True)

    def stop(self) -> None:
        """The connection ends: no deadline matters any more."""
        for timer in (self._idle_timer, self._head_timer, *self._streams.values()):
            if timer is not None:
                timer.cancel()

    def active(self) -> None:
        """Something has happened on the connection."""
        self._last_activity_s = time.monotonic()

    def await_head(self, *, begun: bool) -> None:
        """Arm the clock for a head that has `begun` and is not complete; disarm it where there is none."""
        if begun and self._head_timer is None:
            loop = asyncio.get_running_loop()
            self._head_timer = loop.call_later(self._options.header_timeout_s, self._head_too_slow)
        elif not begun and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def watch(self, command: WatchStream) -> None:
        """Start the clock of a stream afresh, or stop it."""
        if (old := self._streams.pop(command.stream, None)) is not None:
            old.cancel()
        if command.timeout_s is not None:
            loop = asyncio.get_running_loop()
            self._streams[command.stream] = loop.call_later(command.timeout_s, self._stream_too_slow, command.stream)

    def _check_idle(self) -> None:
        left = self._options.idle_timeout_s - (time.monotonic() - self._last_activity_s)
        if left <= 0 and not self._held():
            self._idle()
        else:
            self._idle_timer = asyncio.get_running_loop().call_later(max(left, LOOK_AGAIN_S), self._check_idle)

    def _head_too_slow(self) -> None:
        self._head_timer = None
        self._head_late()

    def _stream_too_slow(self, stream: object) -> None:
        self._streams.pop(stream, None)
        self._stream_late(stream)
