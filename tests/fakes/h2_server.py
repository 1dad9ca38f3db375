"""A provider that speaks HTTP/2: echoes, trailers, resets."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events

if TYPE_CHECKING:
    import ssl


class H2Provider:
    """`requests` are headers and bodies that arrived, with the number of their connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        context.set_alpn_protocols(["h2"])
        self._context = context
        self.requests: list[tuple[int, dict[str, str], bytes]] = []
        self.trailers: list[tuple[str, str]] = []
        self.resets = self.connections = self.port = 0
        self.break_off = False
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self._server.close_clients()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        heads: dict[int, dict[str, str]] = {}
        bodies: dict[int, bytes] = {}
        try:
            while data := await reader.read(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        heads[event.stream_id], bodies[event.stream_id] = dict(event.headers), b""
                    elif isinstance(event, h2.events.DataReceived):
                        bodies[event.stream_id] += event.data
                        connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, h2.events.StreamReset):
                        self.resets += 1
                    elif isinstance(event, h2.events.StreamEnded):
                        self.requests.append((number, heads[event.stream_id], bodies[event.stream_id]))
                        self._answer(connection, event.stream_id, heads[event.stream_id], bodies[event.stream_id])
                writer.write(connection.data_to_send())
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()

    def _answer(self, connection: h2.connection.H2Connection, stream: int, head: dict[str, str], body: bytes) -> None:
        told = json.dumps({"headers": head, "body": body.decode("latin-1")}).encode()
        connection.send_headers(stream, [(":status", "200"), ("content-type", "application/json")])
        if self.break_off:
            connection.send_data(stream, told[:10])
            connection.reset_stream(stream)
            return
        connection.send_data(stream, b"")
        for at in range(0, len(told), 1000):
            connection.send_data(stream, told[at : at + 1000])
        connection.send_headers(stream, self.trailers, end_stream=True) if self.trailers else connection.end_stream(
            stream
        )
