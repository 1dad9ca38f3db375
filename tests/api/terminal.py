"""A command on a terminal of its own."""

from __future__ import annotations

import asyncio
import os
import pty
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path


class Terminal:
    """What a person sees and types."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._news = asyncio.Event()
        self.seen = bytearray()

    def read(self) -> None:
        try:
            self.seen.extend(os.read(self._master, 65536))
        except OSError:  # the command has ended
            asyncio.get_running_loop().remove_reader(self._master)
        self._news.set()

    async def until(self, text: bytes) -> bytes:
        """Wait for `text`; everything up to its end."""
        async with asyncio.timeout(20):
            while text not in self.seen:
                self._news.clear()
                await self._news.wait()
        end = self.seen.index(text) + len(text)
        before = bytes(self.seen[:end])
        del self.seen[:end]
        return before

    def type(self, line: str) -> None:
        os.write(self._master, line.encode() + b"\n")


@asynccontextmanager
async def on_a_terminal(*command: str, env: Mapping[str, str], cwd: Path) -> AsyncIterator[Terminal]:
    """Runs until the block ends; it is stopped then, if it has not ended."""
    master, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *command, stdin=theirs, stdout=theirs, stderr=theirs, env=dict(env), cwd=cwd
    )
    os.close(theirs)
    terminal = Terminal(master)
    loop = asyncio.get_running_loop()
    loop.add_reader(master, terminal.read)
    try:
        yield terminal
    finally:
        loop.remove_reader(master)
        if process.returncode is None:
            process.terminate()
        await process.wait()
        os.close(master)
