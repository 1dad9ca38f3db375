"""The providers of the soak: HTTP/1.1 with server-sent events and uploads, HTTP/2, WebSocket and gRPC, all with TLS.

All are careless: they send the key back that they got. Each answer also says `right` or `other`: whether that was the
real key.

    python bench/soak_provider.py FOLDER KEY     prints {"http1": PORT, ...}, ends with its standard input
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from upstream import HOST, chunk
from websockets.asyncio.server import serve

from tests.fakes.grpc_server import GrpcProvider
from tests.fakes.h2_server import H2Provider
from tests.rig.provider import Provider, Seen, echo, read_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc
    import h2.connection
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

EVENTS: Final = 20
EVENT_S: Final = 0.2
PIECE_BYTES: Final = 65_536
CUT_AT: Final = 15
"""Bytes from the end of an event where it is cut in two: within the key."""


class Http1:
    """The handlers of the HTTP/1.1 provider."""

    def __init__(self, folder: Path, key: str) -> None:
        self.provider: Final = Provider(folder, (HOST,), read_body=False)
        self._bearer: Final = f"Bearer {key}"
        for path, handler in (("/echo", self.echo), ("/events", self.events), ("/upload", self.upload)):
            self.provider.on(path, handler)

    def verdict(self, seen: Seen) -> str:
        """Whether the request brought the real key, once."""
        self.provider.requests.clear()
        return "right" if seen.all("authorization") == [self._bearer] else "other"

    async def echo(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """All that came, the key included."""
        seen.headers.append(("x-key", self.verdict(seen)))
        seen.body = await read_body(seen, reader, writer)
        await echo(seen, reader, writer)

    async def events(self, seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Server-sent events that say the key, each in two pieces, cut within the key."""
        told = f"{self.verdict(seen)} {seen.one('authorization')}"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for index in range(EVENTS):
            event = f"data: {index} {told}\n\n".encode()
            writer.write(chunk(event[:-CUT_AT]))
            await writer.drain()
            await asyncio.sleep(EVENT_S)
            writer.write(chunk(event[-CUT_AT:]))
        writer.write(chunk(b""))

    async def upload(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The length and the digest of the body, which is not kept."""
        digest, length = hashlib.sha256(), 0
        async for piece in pieces(seen, reader):
            digest.update(piece)
            length += len(piece)
        told = {"key": self.verdict(seen), "sha256": digest.hexdigest(), "bytes": length}
        body = json.dumps({**told, "told": seen.one("authorization")}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)


async def pieces(seen: Seen, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """A body piece by piece, with Content-Length or chunked and without trailers."""
    if (length := seen.one("content-length")) is not None:
        left = int(length)
        while left:
            piece = await reader.read(min(left, PIECE_BYTES))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece
        return
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)


class KeyedH2(H2Provider):
    """Says in `x-key` of what it echoes whether the key was the real one."""

    def __init__(self, context: ssl.SSLContext, key: str) -> None:
        super().__init__(context)
        self._bearer: Final = f"Bearer {key}"

    def _answer(self, connection: h2.connection.H2Connection, stream: int, head: dict[str, str], body: bytes) -> None:
        self.requests.clear()
        head["x-key"] = "right" if head.get("authorization") == self._bearer else "other"
        super()._answer(connection, stream, head, body)


class KeyedGrpc(GrpcProvider):
    """Says before each credential that it repeats whether it was the real one."""

    bearer = ""

    def _note(self, context: grpc.aio.ServicerContext) -> str:
        told = super()._note(context)
        return f"{'right' if told == self.bearer else 'other'} {told}"

    async def both(self, messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        """Each message in capitals, and what is said of the key."""
        told = self._note(context).encode()
        async for message in messages:
            yield message.upper() + b" " + told


class Sockets:
    """A WebSocket endpoint (the `websockets` library, which agrees to permessage-deflate) that repeats messages."""

    def __init__(self, key: str) -> None:
        self._bearer: Final = f"Bearer {key}"

    def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse a handshake without the real key."""
        right = request.headers.get_all("Authorization") == [self._bearer]
        return None if right else connection.respond(401, "who are you?\n")

    async def talk(self, connection: ServerConnection) -> None:
        """Repeat each message, the key before it."""
        async for message in connection:
            text = isinstance(message, str)
            told = message if isinstance(message, str) else message.decode()
            answer = f"right {self._bearer} {told}"
            await connection.send(answer if text else answer.encode())


def tls(pem: Path) -> ssl.SSLContext:
    """A context of its own for each server, because each has its own protocols."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


async def main(folder: Path, key: str) -> None:
    """Serve until standard input ends; the root to trust is `FOLDER/provider-root.pem`."""
    http1, pem = Http1(folder, key), folder / f"{HOST}.pem"
    await http1.provider.start()
    http2 = KeyedH2(tls(pem), key)
    await http2.start()
    rpc = KeyedGrpc(pem)
    rpc.bearer = f"Bearer {key}"
    await rpc.start()
    sockets = Sockets(key)
    async with serve(sockets.talk, "127.0.0.1", 0, ssl=tls(pem), process_request=sockets.admit) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        ports = {"http1": http1.provider.port, "http2": http2.port, "grpc": rpc.port, "websocket": port}
        print(json.dumps(ports), flush=True)
        await asyncio.to_thread(sys.stdin.read)
    await rpc.stop()
    await http2.stop()
    await http1.provider.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
