"""A WebSocket endpoint of the rig's provider: refuses a handshake without the real key, then echoes messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

if TYPE_CHECKING:
    import asyncio

    from tests.rig.provider import Handler, Seen

READ_BYTES = 65_536


def talking(header: str, value: str, *, before: str = "") -> Handler:
    """Echo every message, with `before` in front of it, to who brought `value` in `header`."""

    async def handler(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol()
        protocol.receive_data(seen.head)
        (request,) = protocol.events_received()
        assert isinstance(request, Request)
        allowed = seen.all(header) == [value]
        protocol.send_response(protocol.accept(request) if allowed else protocol.reject(401, "who are you?\n"))
        while True:
            writer.write(b"".join(protocol.data_to_send()))
            await writer.drain()
            if not allowed or not (data := await reader.read(READ_BYTES)):
                return
            protocol.receive_data(data)
            for event in protocol.events_received():
                if event.opcode is Opcode.TEXT:
                    protocol.send_text(before.encode() + event.data)
                elif event.opcode is Opcode.BINARY:
                    protocol.send_binary(before.encode() + event.data)

    return handler
