"""What the front itself says to an agent."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from proxy.canonical.wire import END_OF_HEAD
from proxy.errors import render
from proxy.front.hello import ACCESS_DENIED

if TYPE_CHECKING:
    from proxy.errors import Denial

TUNNEL_OPEN: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
LINGER_S: Final = 1.0
LINGER_BYTES: Final = 1024 * 1024


def refusal(denial: Denial, *, receipt: str | None, keep_alive: bool = False) -> bytes:
    """The problem document for `denial` as an HTTP/1.1 response."""
    answer = render(denial, receipt=receipt)
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}".encode()]
    lines += [name + b": " + value for name, value in answer.headers]
    if not keep_alive:
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + END_OF_HEAD + answer.body


async def answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, denial: Denial, *, keep_alive: bool = False
) -> None:
    """Send the problem document; without `keep_alive` nothing more is carried on this connection."""
    receipt = denial.extra.get("receipt")
    known = receipt if isinstance(receipt, str) else None
    await _say(reader, writer, refusal(denial, receipt=known, keep_alive=keep_alive), end=not keep_alive)


async def alert(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Tell a TLS client that it is refused: it understands nothing else before its handshake."""
    await _say(reader, writer, ACCESS_DENIED, end=True)


async def _say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes, *, end: bool) -> None:
    writer.write(data)
    await writer.drain()
    if end and writer.can_write_eof():
        # Closing while the agent still sends would be a reset, which eats the answer: half-close, then linger.
        writer.write_eof()
        await _discard(reader)


async def _discard(reader: asyncio.StreamReader) -> None:
    """Read and forget what the agent still sends, for a moment."""
    seen = 0
    try:
        async with asyncio.timeout(LINGER_S):
            while seen < LINGER_BYTES and (data := await reader.read(65_536)):
                seen += len(data)
    except TimeoutError:
        return
