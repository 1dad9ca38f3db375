"""Handlers of a provider that answers nobody without the real key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.rig.provider import echo

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from tests.rig.provider import Handler, Seen


def refusal(status: str = "401 Unauthorized") -> bytes:
    body = b'{"error":{"message":"invalid api key","type":"authentication_error"}}'
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        status.encode(), len(body), body,
    )  # fmt: skip


def demanding(header: str, value: str, then: Handler = echo, *, absent: Sequence[str] = ()) -> Handler:
    """`then`, for a request that has exactly this header, and none of `absent`; 401 for every other."""

    async def handler(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if seen.all(header) != [value] or any(seen.all(name) for name in absent):
            writer.write(refusal())
        else:
            await then(seen, reader, writer)

    return handler


def answering(value: object) -> Handler:
    """A JSON answer."""
    body = json.dumps(value).encode()

    async def handler(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    return handler


def streaming(events: Sequence[tuple[str, object]]) -> Handler:
    """Server-sent events, each cut in two pieces, as a network may do it."""

    async def handler(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for name, data in events:
            text = data if isinstance(data, str) else json.dumps(data)
            event = (f"event: {name}\n" if name else "") + f"data: {text}\n\n"
            for piece in (event[: len(event) // 2], event[len(event) // 2 :]):
                writer.write(f"{len(piece.encode()):x}\r\n{piece}\r\n".encode())
                await writer.drain()
        writer.write(b"0\r\n\r\n")

    return handler
