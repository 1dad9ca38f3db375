"""One agent connection in the mitmproxy lane: runs the layers and the hooks, writes, fails closed.

Its deadlines are in `clocks`, its dials in `dialling`, when it reads in `backpressure`, whether its agent is there in
`presence`.

mitmproxy's own handler starts a task, takes a lock and turns the loop once for every hook. Here a hook that does not
wait runs inline; events that arise meanwhile queue behind it, so the layers never re-enter.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import inspect
import logging
import socket
import struct
from typing import TYPE_CHECKING, Final, cast

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events, server
from mitmproxy.utils import asyncio_utils

from proxy.engine.backpressure import Backpressure, drained
from proxy.engine.clocks import Clocks
from proxy.engine.commands import AbortClient, PauseAgent, StreamTooLate, WatchHalfClosed, WatchStream
from proxy.engine.dialling import DiallingHandler
from proxy.engine.layers import head_has_begun
from proxy.engine.master import HookFailedError
from proxy.engine.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mitmproxy.connection import Connection
    from mitmproxy.hooks import Hook
    from mitmproxy.options import Options
    from mitmproxy.proxy import mode_specs
    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.layer import Layer

    from proxy.engine.master import StrictAddons
    from proxy.engine.pins import Pinned
    from proxy.engine.sockets import AgentConnection, Connector, PrefixedReader, Slots
    from proxy.exchange import Exchange, Tunnel

_log: Final = logging.getLogger("proxy.engine")
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
FLUSH_WITHIN_S: Final = 1.0


class SidecarHandler(DiallingHandler):
    """See the module. `tunnel` says whose connection this is; `open_exchanges` are those that owe an end."""

    def __init__(
        self,
        *,
        reader: PrefixedReader,
        writer: asyncio.StreamWriter,
        options: Pinned,
        mode: mode_specs.ProxyMode,
        tunnel: Tunnel,
        addons: StrictAddons,
        dialler: Connector,
        slots: Slots,
        build: Callable[[Context], Layer],
    ) -> None:
        super().__init__(cast("asyncio.StreamReader", reader), writer, cast("Options", options), mode)
        if not isinstance(self.client.peername, tuple):  # a unix socket; mitmproxy formats addresses
            self.client.peername = self.client.sockname = ("unix", 0)
        self.layer = build(self.layer.context)
        self.tunnel: Final = tunnel
        self.open_exchanges: Final[set[Exchange]] = set()
        self.slots = slots
        self.dialler = dialler
        cast("AgentConnection", self.client).handler = self
        self._addons: Final = addons
        self._writer: Final = writer
        self._queue: Final[collections.deque[events.Event]] = collections.deque()
        self._busy = False
        self._holds = 0
        self._ended = False
        self._presence: Final = Presence(writer, gone=self._agent_gone)
        self._backpressure: Final = Backpressure(self.layer.context, self._presence, abort=self.abort)
        self._clocks: Final = Clocks(
            options,
            held=lambda: self._holds > 0,
            idle=self.close_now,
            head_late=self.abort,
            stream_late=self._stream_late,
        )

    # -- life ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the connection until it ends; every exchange on it has an end afterwards."""
        self._clocks.start()
        try:
            self.dispatch(events.Start())
            task = asyncio_utils.create_task(
                self.handle_connection(self.client),
                name="client connection",
                keep_ref=False,
                client=self.client.peername,
            )
            self.transports[self.client].handler = task
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("connection handler failed: %s", type(error).__name__)
        finally:
            await self._finish()

    async def _finish(self) -> None:
        self._clocks.stop()
        while self.wakeup_timer:
            self.wakeup_timer.pop().cancel()
        handlers = [io.handler for io in self.transports.values() if io.handler is not None]
        for handler in handlers:
            handler.cancel("client disconnected")
        if handlers:
            _, left = await asyncio.wait(handlers, timeout=FLUSH_WITHIN_S)
            for handler in left:
                handler.cancel("still waiting")
        if not self._writer.transport.is_closing():
            self._writer.close()
        if self._writer.transport.get_write_buffer_size():  # an agent that does not read would keep it for ever
            try:
                async with asyncio.timeout(FLUSH_WITHIN_S):
                    await self._writer.wait_closed()
            except (TimeoutError, OSError):
                self._writer.transport.abort()
        self._ended = True
        self._presence.stop()
        await self._addons.connection_ended(self)

    @property
    def idle(self) -> bool:
        """Whether no exchange is in flight on this connection."""
        return not self.open_exchanges

    def close_when_idle(self) -> None:
        """Drain: an idle keep-alive connection is closed now, a busy one when its exchanges end."""
        if self.idle:
            self.close_now()

    def close_now(self) -> None:
        """End the connection."""
        io = self.transports.get(self.client)
        if io is not None and io.handler is not None:
            io.handler.cancel("drain")

    # -- clocks --------------------------------------------------------------------------------------------------

    def _stream_late(self, stream: object) -> None:
        self.dispatch(StreamTooLate(stream))

    def _agent_gone(self) -> None:
        """An agent that had shut its sending side is gone altogether."""
        self.client.state = ConnectionState.CLOSED
        self.dispatch(events.ConnectionClosed(self.client))
        self.abort()

    def _start_clock(self, command: WatchStream | WatchHalfClosed | commands.RequestWakeup) -> None:
        match command:
            case WatchStream():
                self._clocks.watch(command)
            case WatchHalfClosed():
                self._presence.watch_half_closed()
            case commands.RequestWakeup():
                self.wakeup_timer.add(asyncio_utils.create_task(self.wakeup(command), name="wakeup", keep_ref=False))

    # -- events and commands -------------------------------------------------------------------------------------

    async def server_event(self, event: events.Event) -> None:
        """mitmproxy's entry for events; it reads on when this returns, so an agent that is ahead of us waits here."""
        self.dispatch(event)
        if not isinstance(event, events.DataReceived):
            return
        if event.connection is self.client:
            await self._backpressure.after_agent()
        else:
            await self._backpressure.after_upstream()

    def dispatch(self, event: events.Event) -> None:
        """Feed `event` and everything it causes through the layers; write each socket once at the end."""
        self._queue.append(event)
        if self._busy:
            return
        self._busy = True
        self._clocks.active()
        out: dict[Connection, list[bytes]] = {}
        try:
            while self._queue:
                for command in self.layer.handle_event(self._queue.popleft()):
                    self._perform(command, out)
        except Exception as error:  # noqa: BLE001  # the guard: a layer that fails closes its connection
            _log.error("a protocol layer failed (%s); the connection is closed", type(error).__name__)
            self._queue.clear()
            out.pop(self.client, None)
            self.abort()
        finally:
            self._busy = False
            self._flush(out)
        self._backpressure.moved()
        if isinstance(event, events.DataReceived) and event.connection is self.client:
            self._clocks.await_head(begun=head_has_begun(self.layer.context))

    def _perform(self, command: commands.Command, out: dict[Connection, list[bytes]]) -> None:
        if isinstance(command, commands.SendData):
            if command.connection in self.transports:
                out.setdefault(command.connection, []).append(command.data)
        elif isinstance(command, commands.StartHook):
            self._start_hook(command)
        elif isinstance(command, commands.OpenConnection):
            task = asyncio_utils.create_task(
                self.open_connection(command), name="server connection", keep_ref=False, client=self.client.peername
            )
            self.transports.setdefault(command.connection, server.ConnectionIO(handler=task))
        elif isinstance(command, WatchStream | WatchHalfClosed | commands.RequestWakeup):
            self._start_clock(command)
        elif isinstance(command, PauseAgent):
            self._backpressure.pause(command)
        elif isinstance(command, AbortClient):
            out.pop(self.client, None)
            self.abort()
        elif isinstance(command, commands.CloseConnection):
            if command.connection in self.transports:
                self._flush(out)
                half = isinstance(command, commands.CloseTcpConnection) and command.half_close
                self.close_connection(command.connection, half)
        elif not isinstance(command, commands.Log):  # mitmproxy's log lines carry raw bytes and say nothing of use here
            raise TypeError(f"unexpected command {type(command).__name__}")

    def _flush(self, out: dict[Connection, list[bytes]]) -> None:
        for connection, pieces in out.items():
            io = self.transports.get(connection)
            if io is not None and io.writer is not None and not io.writer.is_closing():
                io.writer.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        out.clear()

    async def drain_writers(self) -> None:
        """Back-pressure: wait while a socket's buffer is large. Nobody reads on meanwhile."""
        await drained(list(self.transports.values()))

    def abort(self) -> None:
        """Reset the agent's connection (RST) and end it."""
        raw = self._writer.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):  # it may be closed already
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._writer.transport.abort()
        self.client.state = ConnectionState.CLOSED
        # Its task may wait for the other side to take something; nobody needs that any more.
        asyncio.get_running_loop().call_soon(self.close_now)

    # -- hooks ---------------------------------------------------------------------------------------------------

    def _start_hook(self, hook: commands.StartHook) -> None:
        try:
            waiting = self._addons.fire(hook)
        except HookFailedError:
            self.abort()
            return
        if waiting is not None:
            self._holds += 1
            asyncio_utils.create_task(self._complete_hook(hook, waiting), name=hook.name, keep_ref=True)
        elif hook.blocking:
            self._queue.append(events.HookCompleted(hook))

    async def _complete_hook(self, hook: commands.StartHook, waiting: Awaitable[None]) -> None:
        try:
            await waiting
        except HookFailedError:
            self.abort()
            return
        finally:
            self._holds -= 1
        if hook.blocking and not self._ended:
            self.dispatch(events.HookCompleted(hook))

    async def handle_hook(self, hook: Hook) -> None:
        """mitmproxy's entry for hooks outside the layers."""
        waiting = self._addons.fire(hook)
        if inspect.isawaitable(waiting):
            await waiting
