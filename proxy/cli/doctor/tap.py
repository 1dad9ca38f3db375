"""What a client says to the sidecar where it is sent there: a tap between one attempt and a listener."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, override

from proxy.cli.doctor.wire import Wire

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

STATUS_AT: Final = slice(9, 12)


class Tap(Wire):
    """`asked` counts connections on which the client spoke; `statuses` are the sidecar's first answers on them."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self.asked = 0
        self.statuses: Final[list[int]] = []
        self._upstream: Final = (host, port)

    @override
    async def onward(self, writer: StreamWriter) -> tuple[StreamReader, StreamWriter]:
        return await asyncio.open_connection(*self._upstream)

    @override
    def began(self, chunk: bytes, *, ours: bool) -> None:
        if ours:
            self.asked += 1
        elif chunk.startswith(b"HTTP/1.") and chunk[STATUS_AT].isdigit():
            self.statuses.append(int(chunk[STATUS_AT]))
