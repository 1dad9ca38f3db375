"""Where a client arrives that goes around the proxy: an address per attempt, with a certificate of the sidecar's CA.

A client that completes the handshake and sends its request here trusts that CA; it only did not heed the proxy. A
network rule (confined mode) would bring it to the sidecar.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

WAIT_S: Final = 10.0
ANSWER: Final = b"HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(slots=True)
class Trap:
    """`connections` and, of these, `requests` that came through a completed handshake."""

    context: ssl.SSLContext
    connections: int = 0
    requests: int = 0
    _server: asyncio.Server | None = None
    _open: set[StreamWriter] = field(default_factory=set)

    async def start(self, address: str, port: int) -> None:
        """Listen. Raises `OSError` where this machine has no such loopback address."""
        self._server = await asyncio.start_server(self._meet, address, port)

    async def stop(self) -> None:
        """Stop listening, and cut what is open."""
        if self._server is not None:
            self._server.close()
            for writer in self._open:
                writer.close()

    async def _meet(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(WAIT_S):
                    await writer.start_tls(self.context)
                    if await reader.read(1):
                        self.requests += 1
                        writer.write(ANSWER)
                        await writer.drain()
        finally:
            writer.close()
            self._open.discard(writer)
