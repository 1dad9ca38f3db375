"""Sockets as the connection handler needs them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from proxy.exchange import Dial

ENDED_STATES: Final = (7, 8)
"""TCP_CLOSE and TCP_CLOSE_WAIT (tcp_states.h of Linux): the first byte of `tcp_info`."""
type Slots = Mapping[tuple[str, str, int], asyncio.Semaphore]
"""How many upstream connections an agent may have open to one host and port, over all its connections."""


class Connector(Protocol):
    """Opens the connection that was decided on, and no other."""

    async def connect(self, dial: Dial) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        """A connection to a vetted address of `dial`, and which. Raises `Refused` or `OSError`."""
        ...


class PrefixedReader:
    """A stream reader that first gives back what the front has already read."""

    def __init__(self, prefix: bytes, reader: asyncio.StreamReader) -> None:
        self._prefix = prefix
        self._reader: Final = reader

    async def read(self, n: int) -> bytes:
        """Up to `n` bytes; b"" at the end of the stream."""
        if self._prefix:
            data, self._prefix = self._prefix[:n], self._prefix[n:]
            return data
        return await self._reader.read(n)


def has_left(raw: socket.socket | None) -> bool:
    """Whether the peer of a socket that nobody reads has reset or ended the connection."""
    if raw is None or raw.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    if raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return True
    info = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) if hasattr(socket, "TCP_INFO") else b"\x01"
    return info[0] in ENDED_STATES


class AgentConnection:
    """What we hang on mitmproxy's `Client`: its connection handler, and through it the tunnel."""

    handler: object
