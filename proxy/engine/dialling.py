"""How the mitmproxy lane opens upstream connections: only what was decided, a bounded number at once."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events, server

from proxy.engine.failure import PREFIX
from proxy.engine.layers import dial_of
from proxy.errors import Refused

if TYPE_CHECKING:
    from mitmproxy.connection import Server

    from proxy.engine.sockets import Connector, Slots
    from proxy.exchange import Dial

SLOT_WITHIN_S: Final = 10.0
"""How long a dial may wait until one of the agent's connections to the same host and port ends."""


class DiallingHandler(server.LiveConnectionHandler):
    """mitmproxy's handler with our dialler in the place of its own; `SidecarHandler` completes it."""

    dialler: Connector
    slots: Slots

    def dispatch(self, event: events.Event) -> None:  # noqa: ARG002
        """Feed `event` through the layers."""
        raise AssertionError("SidecarHandler has it")

    async def open_connection(self, command: commands.OpenConnection) -> None:
        """Resolve, vet, pin and dial what was decided; nothing else can be dialled."""
        connection: Server = command.connection
        dial = dial_of(connection)
        slot = self.slots[(dial.agent, dial.authority.host, dial.authority.port)]
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
            reader, writer, _address = await self.dialler.connect(dial)
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
