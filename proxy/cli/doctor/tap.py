"""What a client says to the proxy: a wire tap between one attempt and the sidecar. It changes no byte."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

CHUNK: Final = 64 * 1024
STATUS_AT: Final = slice(9, 12)


@dataclass(slots=True)
class Tap:
    """`asked` counts connections on which the client spoke to the proxy; `statuses` are the proxy's first answers."""

    upstream: tuple[str, int]
    asked: int = 0
    statuses: list[int] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None
    _open: set[StreamWriter] = field(default_factory=set)

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, and cut what is open."""
        if self._server is not None:
            self._server.close()
            for writer in self._open:
                writer.close()

    async def _carry(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._open.add(writer)
        try:
            with contextlib.suppress(OSError):
                theirs, ours = await asyncio.open_connection(*self.upstream)
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._copy(reader, ours, asks=True))
                        group.create_task(self._copy(theirs, writer, asks=False))
                finally:
                    ours.close()
        finally:
            writer.close()
            self._open.discard(writer)

    async def _copy(self, source: StreamReader, sink: StreamWriter, *, asks: bool) -> None:
        first = True
        with contextlib.suppress(OSError):
            while chunk := await source.read(CHUNK):
                if first:
                    self._note(chunk, asks=asks)
                    first = False
                sink.write(chunk)
                await sink.drain()
            if sink.can_write_eof():
                sink.write_eof()

    def _note(self, chunk: bytes, *, asks: bool) -> None:
        if asks:
            self.asked += 1
        elif chunk.startswith(b"HTTP/1.") and chunk[STATUS_AT].isdigit():
            self.statuses.append(int(chunk[STATUS_AT]))
