"""The process at the other end of a unix socket, held so that no other can take its place."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from typing import TYPE_CHECKING, Final, cast

from proxy.identity import processes

if TYPE_CHECKING:
    import asyncio

SO_PEERPIDFD: Final = 77
"""asm-generic/socket.h of Linux 6.5: a pidfd of the process that connected, whatever became of its number."""
_UCRED: Final = struct.Struct("3i")


class PeerProcess:
    """A `Proof`: the process that made the connection still runs. Ours to close."""

    def __init__(self, pidfd: int) -> None:
        self._pidfd = pidfd
        self._ended: Final = select.poll()
        self._ended.register(pidfd, select.POLLIN)  # readable once the process has ended: pidfd_open(2)

    def holds(self, now_ms: int) -> bool:  # noqa: ARG002  # a process has no date
        """See `Proof`."""
        return self._pidfd >= 0 and not self._ended.poll(0)

    def close(self) -> None:
        """Let go of it; it holds no more."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def peer_process(writer: asyncio.StreamWriter) -> PeerProcess | None:
    """The process at the other end; None where the platform does not tell.

    Raises:
        ProcessLookupError: it has ended.
    """
    raw = cast("socket.socket", writer.get_extra_info("socket"))
    if raw.family != socket.AF_UNIX or not hasattr(os, "pidfd_open"):
        return None
    try:
        return PeerProcess(raw.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD))
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:  # else this kernel is older
            raise ProcessLookupError(error.errno, "the process that connected has ended") from None
    pid = _pid(raw)
    return PeerProcess(os.pidfd_open(pid)) if pid > 0 else None  # 0: of another PID namespace, which hides it


def lineage(writer: asyncio.StreamWriter) -> tuple[str, ...]:
    """The names of the process at the other end of a unix socket and of its ancestors; empty where it cannot be known.

    Its number alone might be another process's by now: it is believed while the process itself is held.
    """
    try:
        held = peer_process(writer)
    except ProcessLookupError:
        return ()
    if held is None:
        return ()
    try:
        names = processes.lineage_of(_pid(cast("socket.socket", writer.get_extra_info("socket"))))
        return names if held.holds(0) else ()
    finally:
        held.close()


def _pid(raw: socket.socket) -> int:
    """The number of the process that connected, as this PID namespace counts; 0 for one of another."""
    return int(_UCRED.unpack(raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[0])
