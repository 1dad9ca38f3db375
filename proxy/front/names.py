"""The stub resolver of redirected clients: each name gets an address, and a connection to it leads back to the name."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from functools import partial
from typing import TYPE_CHECKING, Final

from proxy.confine.stub import Datagrams, Names, serve_stream
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from proxy.front.sockets import Listening

MOST_STREAMS: Final = 64
"""Clients ask over UDP; TCP is for who gets no answer there."""


class StubResolver:
    """Answers over UDP and TCP at the same address. `names` tells which name an answer was given out for."""

    def __init__(self) -> None:
        self.names: Final = Names()
        self._stack: Final = contextlib.AsyncExitStack()
        self._streams = 0

    async def start(self, stream: Listening) -> None:
        """Serve `stream`, and datagrams at its address. Raises `BriefcaseError` when the address is taken."""
        datagrams = socket.socket(stream.socket.family, socket.SOCK_DGRAM)
        try:
            datagrams.bind(stream.socket.getsockname())
        except OSError as error:
            datagrams.close()
            raise BriefcaseError(f"{stream.endpoint}: {error.strerror or error}") from None
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(partial(Datagrams, self.names), sock=datagrams)
        self._stack.callback(transport.close)
        server = await asyncio.start_server(self._serve, sock=stream.socket)
        self._stack.callback(server.close)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._streams >= MOST_STREAMS:
            writer.close()
            return
        self._streams += 1
        try:
            await serve_stream(reader, writer, self.names)
        finally:
            self._streams -= 1

    async def close(self) -> None:
        """Answer no more."""
        await self._stack.aclose()
