"""One agent connection in the mitmproxy lane: reads, runs the layers, hooks inline, dials, fails closed.

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
import time
from typing import TYPE_CHECKING, Final, cast

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events, server
from mitmproxy.proxy.layers.http import HttpLayer
from mitmproxy.utils import asyncio_utils

from proxy.engine.backlog import backlog_bytes
from proxy.engine.commands import AbortClient, PauseAgent, StreamTooLate, WatchHalfClosed, WatchStream
from proxy.engine.failure import PREFIX
from proxy.engine.http1 import SidecarHttp1Server
from proxy.engine.layers import dial_of
from proxy.engine.master import HookFailedError
from proxy.engine.sockets import has_left, is_over, keep_alive
from proxy.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mitmproxy.connection import Connection, Server
    from mitmproxy.hooks import Hook
    from mitmproxy.options import Options
    from mitmproxy.proxy import mode_specs
    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.layer import Layer

    from proxy.engine.master import StrictAddons
    from proxy.engine.pins import Pinned
    from proxy.engine.sockets import AgentConnection, Connector, PrefixedReader, Slots
    from proxy.exchange import Dial, Exchange, Tunnel

_log: Final = logging.getLogger("proxy.engine")
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
DRAIN_ABOVE_BYTES: Final = 64 * 1024
SLOT_WITHIN_S: Final = 10.0
FLUSH_WITHIN_S: Final = 1.0
MAX_BACKLOG_BYTES: Final = 512 * 1024
LOOK_S: Final = 1.0


class SidecarHandler(server.LiveConnectionHandler):
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
        self._slots: Final = slots
        cast("AgentConnection", self.client).handler = self
        self._addons: Final = addons
        self._dialler: Final = dialler
        self._options: Final = options
        self._writer: Final = writer
        self._queue: Final[collections.deque[events.Event]] = collections.deque()
        self._busy = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._watches: Final[dict[object, asyncio.TimerHandle]] = {}
        self._holds = 0
        self._ended = False
        self._paused_by: Final[set[object]] = set()
        self._moved: Final = asyncio.Event()
        self._last_activity_s = time.monotonic()

    # -- life ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the connection until it ends; every exchange on it has an end afterwards."""
        loop = asyncio.get_running_loop()
        self._idle_timer = loop.call_later(self._options.idle_timeout_s, self._check_idle)
        self._head_timer = loop.call_later(self._options.header_timeout_s, self._head_too_slow)
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
        for timer in (self._idle_timer, self._head_timer, *self._watches.values()):
            if timer is not None:
                timer.cancel()
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

    def _check_idle(self) -> None:
        left = self._options.idle_timeout_s - (time.monotonic() - self._last_activity_s)
        if left <= 0 and not self._holds:
            self.close_now()
        else:
            self._idle_timer = asyncio.get_running_loop().call_later(max(left, 1.0), self._check_idle)

    def _watch_head(self) -> None:
        """Arm or disarm the clock for a request head (or handshake) that has begun and is not complete."""
        http = self._http1()
        waiting = not self.client.tls_established and self.client.tls
        if http is not None:
            waiting = waiting or (http.state == http.read_headers and bool(http.buf))
        if waiting and self._head_timer is None:
            loop = asyncio.get_running_loop()
            self._head_timer = loop.call_later(self._options.header_timeout_s, self._head_too_slow)
        elif not waiting and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _http(self) -> HttpLayer | None:
        return next((found for found in self.layer.context.layers if isinstance(found, HttpLayer)), None)

    def _http1(self) -> SidecarHttp1Server | None:
        http = self._http()
        found = None if http is None else http.connections.get(self.client)
        return found if isinstance(found, SidecarHttp1Server) else None

    def _head_too_slow(self) -> None:
        self._head_timer = None
        self.abort()

    def _start_clock(self, command: WatchStream | WatchHalfClosed | commands.RequestWakeup) -> None:
        match command:
            case WatchStream():
                self._watch_stream(command)
            case WatchHalfClosed():
                keep_alive(self._writer.get_extra_info("socket"))
                self._look_for_agent()
            case commands.RequestWakeup():
                self.wakeup_timer.add(asyncio_utils.create_task(self.wakeup(command), name="wakeup", keep_ref=False))

    def _watch_stream(self, command: WatchStream) -> None:
        if (old := self._watches.pop(command.stream, None)) is not None:
            old.cancel()
        if command.timeout_s is not None:
            loop = asyncio.get_running_loop()
            self._watches[command.stream] = loop.call_later(command.timeout_s, self._too_late, command.stream)

    def _too_late(self, stream: object) -> None:
        self._watches.pop(stream, None)
        self.dispatch(StreamTooLate(stream))

    def _look_for_agent(self) -> None:
        """Nobody reads from an agent that has shut its sending side: look whether it is still there."""
        if self._ended:
            return
        if self._writer.transport.is_closing() or is_over(self._writer.get_extra_info("socket")):
            self.client.state = ConnectionState.CLOSED
            self.dispatch(events.ConnectionClosed(self.client))
            self.abort()
        else:
            asyncio.get_running_loop().call_later(LOOK_S, self._look_for_agent)

    # -- events and commands -------------------------------------------------------------------------------------

    async def server_event(self, event: events.Event) -> None:
        """mitmproxy's entry for events; it reads on when this returns, so an agent that is ahead of us waits here."""
        self.dispatch(event)
        if not isinstance(event, events.DataReceived):
            return
        if event.connection is self.client:
            while self._paused_by and await self._waited():
                pass
            await self._until_taken(towards_agent=False)
        else:
            await self._until_taken(towards_agent=True)

    async def _until_taken(self, *, towards_agent: bool) -> None:
        """Wait while the other side's HTTP/2 windows are shut and what was read for it piles up here (P7)."""
        http = self._http()
        while http is not None and backlog_bytes(http, self.client, towards_agent=towards_agent) > MAX_BACKLOG_BYTES:
            if backlog_bytes(http, self.client, towards_agent=not towards_agent) > MAX_BACKLOG_BYTES:
                self.abort()  # both sides wait for each other
                return
            if not await self._waited():
                return

    async def _waited(self) -> bool:
        """Wait for the state to change, for a moment; False when the agent, whom nobody reads now, is gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._moved.wait()
        if self._writer.transport.is_closing() or has_left(self._writer.get_extra_info("socket")):
            self.abort()
            return False
        return True

    def dispatch(self, event: events.Event) -> None:
        """Feed `event` and everything it causes through the layers; write each socket once at the end."""
        self._queue.append(event)
        if self._busy:
            return
        self._busy = True
        self._last_activity_s = time.monotonic()
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
        self._moved.set()  # wakes who waits for the state to change
        self._moved.clear()
        if isinstance(event, events.DataReceived) and event.connection is self.client:
            self._watch_head()

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
            (self._paused_by.add if command.paused else self._paused_by.discard)(command.stream)
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
        for io in list(self.transports.values()):
            writer = cast("asyncio.StreamWriter | None", io.writer)
            if writer is not None and writer.transport.get_write_buffer_size() > DRAIN_ABOVE_BYTES:
                try:
                    await writer.drain()
                except OSError:
                    if io.handler is not None:
                        io.handler.cancel("error sending data")

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

    # -- dialling ------------------------------------------------------------------------------------------------

    async def open_connection(self, command: commands.OpenConnection) -> None:
        """Resolve, vet, pin and dial what was decided; nothing else can be dialled."""
        connection: Server = command.connection
        dial = dial_of(connection)
        slot = self._slots[(dial.agent, dial.authority.host, dial.authority.port)]
        try:
            async with asyncio.timeout(SLOT_WITHIN_S):
                await slot.acquire()
        except TimeoutError:
            self._not_opened(command, PREFIX + "overloaded")
            return
        except asyncio.CancelledError:
            self._not_opened(command, "connection cancelled")
            raise
        try:
            await self._open(command, connection, dial)
        finally:
            slot.release()

    async def _open(self, command: commands.OpenConnection, connection: Server, dial: Dial) -> None:
        try:
            connection.timestamp_start = time.time()
            reader, writer, _address = await self._dialler.connect(dial)
        except Refused as refused:
            self._not_opened(command, PREFIX + refused.denial.slug)
            return
        except OSError:
            self._not_opened(command, PREFIX + "upstream_unreachable")
            return
        except asyncio.CancelledError:
            self._not_opened(command, "connection cancelled")
            raise
        connection.timestamp_tcp_setup = time.time()
        connection.state = ConnectionState.OPEN
        connection.peername = writer.get_extra_info("peername")
        connection.sockname = writer.get_extra_info("sockname")
        self.transports[connection] = server.ConnectionIO(handler=asyncio.current_task(), reader=reader, writer=writer)
        self.dispatch(events.OpenConnectionCompleted(command, None))
        await self.handle_connection(connection)

    def _not_opened(self, command: commands.OpenConnection, error: str) -> None:
        command.connection.error = error
        self.transports.pop(command.connection, None)
        self.dispatch(events.OpenConnectionCompleted(command, error))
