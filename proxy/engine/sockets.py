"""Sockets as the connection handler needs them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from proxy.exchange import Dial

CLOSED: Final = 7
CLOSE_WAIT: Final = 8
"""TCP_CLOSE and TCP_CLOSE_WAIT (tcp_states.h of Linux): the first byte of `tcp_info`."""
PROBE_S: Final = 5
PROBES: Final = 3
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
    return _state(raw) in (CLOSED, CLOSE_WAIT)


def is_over(raw: socket.socket | None) -> bool:
    """Whether the peer of a half-closed connection has reset it, or no longer answers probes."""
    return _state(raw) == CLOSED


def keep_alive(raw: socket.socket | None) -> None:
    """Probe the peer: a machine whose program is gone answers with a reset after a while (a minute on Linux)."""
    if raw is None or raw.family not in (socket.AF_INET, socket.AF_INET6):
        return
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", PROBE_S), ("TCP_KEEPINTVL", PROBE_S), ("TCP_KEEPCNT", PROBES)):
        if hasattr(socket, name):
            raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _state(raw: socket.socket | None) -> int:
    """The state of a TCP connection; 0 where there is none to tell."""
    if raw is None or raw.family not in (socket.AF_INET, socket.AF_INET6):
        return 0
    if raw.fileno() < 0 or raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return CLOSED
    info = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) if hasattr(socket, "TCP_INFO") else b"\0"
    return info[0]


class AgentConnection:
    """What we hang on mitmproxy's `Client`: its connection handler, and through it the tunnel."""

    handler: object
