"""Where a client arrives that goes around the proxy: an address per attempt.

Its connections are handed to the sidecar's transparent listener, as the forwarder of confined mode hands them on. What
gets through there would get through confined.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, override

from proxy.canonical import proxy_protocol
from proxy.cli.doctor.wire import Wire

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from pathlib import Path


class Trap(Wire):
    """`connections` counts who came for `host` directly."""

    def __init__(self, host: str, socket: Path) -> None:
        super().__init__()
        self.connections = 0
        self._host: Final = host
        self._socket: Final = socket

    @override
    async def onward(self, writer: StreamWriter) -> tuple[StreamReader, StreamWriter]:
        self.connections += 1
        theirs, ours = await asyncio.open_unix_connection(self._socket)
        source, destination = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
        ours.write(proxy_protocol.encode(source, destination, self._host))
        return theirs, ours

    @override
    def began(self, chunk: bytes, *, ours: bool) -> None:
        """What is said is between the client and the sidecar."""


class Door(Trap):
    """Stands before the transparent listener where the forwarder of a confined program comes, with its own header."""

    @override
    async def onward(self, writer: StreamWriter) -> tuple[StreamReader, StreamWriter]:
        self.connections += 1
        return await asyncio.open_unix_connection(self._socket)
