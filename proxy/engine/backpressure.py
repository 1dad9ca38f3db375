"""Back-pressure (P7): a side is read on only when the other one has taken what was read before.

mitmproxy calls `server_event` and `drain_writers` between two reads of a socket, so whoever waits there stops reading.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, cast

from proxy.engine.backlog import backlog_bytes
from proxy.engine.layers import http_in
from proxy.engine.presence import LOOK_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.server import ConnectionIO

    from proxy.engine.commands import PauseAgent
    from proxy.engine.presence import Presence

DRAIN_ABOVE_BYTES: Final = 64 * 1024
"""Of one socket's buffer."""
MAX_BACKLOG_BYTES: Final = 512 * 1024
"""Of what HTTP/2 windows hold back towards one side."""


class Backpressure:
    """Makes the readers of one agent connection wait. `abort` ends a connection that can never go on."""

    def __init__(self, context: Context, presence: Presence, *, abort: Callable[[], None]) -> None:
        self._context: Final = context
        self._presence: Final = presence
        self._abort: Final = abort
        self._paused_by: Final[set[object]] = set()
        self._moved: Final = asyncio.Event()

    def pause(self, command: PauseAgent) -> None:
        """A stream wants the agent to wait, or lets it go on."""
        (self._paused_by.add if command.paused else self._paused_by.discard)(command.stream)

    def moved(self) -> None:
        """Something has happened on the connection: whoever waits looks again."""
        self._moved.set()
        self._moved.clear()

    async def after_agent(self) -> None:
        """Return when the agent may be read on: no stream has paused it, and its provider takes what it sent."""
        while self._paused_by and await self._waited():
            pass
        await self._until_taken(towards_agent=False)

    async def after_upstream(self) -> None:
        """Return when an upstream may be read on: the agent takes what it sent."""
        await self._until_taken(towards_agent=True)

    async def _until_taken(self, *, towards_agent: bool) -> None:
        """Wait while the other side's HTTP/2 windows are shut and what was read for it piles up here."""
        http, client = http_in(self._context), self._context.client
        while http is not None and backlog_bytes(http, client, towards_agent=towards_agent) > MAX_BACKLOG_BYTES:
            if backlog_bytes(http, client, towards_agent=not towards_agent) > MAX_BACKLOG_BYTES:
                self._abort()  # both sides wait for each other
                return
            if not await self._waited():
                return

    async def _waited(self) -> bool:
        """Wait for the state to change, for a moment; False when the agent, whom nobody reads now, is gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._moved.wait()
        if self._presence.has_left():
            self._abort()
            return False
        return True


async def drained(sockets: Iterable[ConnectionIO]) -> None:
    """Wait while a socket's buffer is large. One that cannot be written to ends its own connection."""
    for io in sockets:
        writer = cast("asyncio.StreamWriter | None", io.writer)
        if writer is not None and writer.transport.get_write_buffer_size() > DRAIN_ABOVE_BYTES:
            try:
                await writer.drain()
            except OSError:
                if io.handler is not None:
                    io.handler.cancel("error sending data")
