"""Listeners on loopback that carry every byte on, changed in nothing, and see how it begins."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from pathlib import Path

CHUNK: Final = 64 * 1024


class Wire(ABC):
    """Accepts connections and carries them to where `onward` leads."""

    def __init__(self) -> None:
        self.port = 0
        self._server: asyncio.Server | None = None
        self._carrying: Final[set[asyncio.Task[None]]] = set()

    @abstractmethod
    async def onward(self, writer: StreamWriter) -> tuple[StreamReader, StreamWriter]:
        """Connect for the client behind `writer`. Raises `OSError`."""

    @abstractmethod
    def began(self, chunk: bytes, *, ours: bool) -> None:
        """The first bytes of a direction: `ours` where they come from the client."""

    async def listen(self, address: str, port: int = 0) -> None:
        """Raises `OSError` where the address cannot be had."""
        self._server = await asyncio.start_server(self._carry, address, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def listen_at(self, path: Path) -> None:
        """On a unix socket. Raises `OSError` where it cannot be made."""
        self._server = await asyncio.start_unix_server(self._carry, path)

    async def stop(self) -> None:
        """Stop listening, and cut what is open."""
        if self._server is not None:
            self._server.close()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _carry(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        try:
            with contextlib.suppress(OSError):
                theirs, ours = await self.onward(writer)
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._copy(reader, ours, ours=True))
                        group.create_task(self._copy(theirs, writer, ours=False))
                finally:
                    ours.close()
        finally:
            writer.close()
            self._carrying.discard(task)

    async def _copy(self, source: StreamReader, sink: StreamWriter, *, ours: bool) -> None:
        first = True
        try:
            while chunk := await source.read(CHUNK):
                if first:
                    self.began(chunk, ours=ours)
                    first = False
                sink.write(chunk)
                await sink.drain()
            if sink.can_write_eof():
                sink.write_eof()
        except OSError:
            sink.close()
