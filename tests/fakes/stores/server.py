"""What all fake secret stores share: TLS on loopback, JSON answers, and rudeness on request."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from tests.rig.provider import Provider

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.provider import Seen

RUDE = {
    "down": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 6\r\n\r\nsealed",
    "busy": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n",
    "denied": b'HTTP/1.1 403 Forbidden\r\nContent-Length: 13\r\n\r\n{"errors":[]}',
    "absent": b'HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\n\r\n{"errors":[]}',
    "garbage": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<html>{{}",
    "a list": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    "nothing in it": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "elsewhere": b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere.test/\r\nContent-Length: 0\r\n\r\n",
    "deep": b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n" + b"[" * 40000,
}


class _All(dict):
    def __init__(self, handler: Any) -> None:
        super().__init__()
        self._handler = handler

    def get(self, _path: str, _default: Any = None) -> Any:
        return self._handler


class StoreServer(ABC):
    """`answer` is the store; `rude` makes it misbehave; `questions` are the requests for secrets."""

    def __init__(self, folder: Path, host: str) -> None:
        self.host = host
        self.provider = Provider(folder, (host,))
        self.provider.handlers = _All(self._handle)
        self.values: dict[str, str] = {}
        self.rude: str | None = None
        self.questions = 0

    async def start(self) -> None:
        await self.provider.start()

    async def stop(self) -> None:
        await self.provider.stop()

    @property
    def address(self) -> str:
        return f"https://{self.host}:{self.provider.port}"

    @abstractmethod
    def answer(self, seen: Seen) -> tuple[int, Any]:
        """Status and JSON; calls `asked` where it is asked for a secret."""

    async def _handle(self, seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        status, answer = self.answer(seen)
        if self.rude == "slow":
            await asyncio.sleep(30)
        if self.rude == "huge":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n")
            for _ in range(200):
                writer.write(b'{"x":"' + b"y" * 5000)
                await writer.drain()
            return
        if self.rude is not None:
            writer.write(RUDE[self.rude])
            return
        body = b"" if answer is None else json.dumps(answer).encode()
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
