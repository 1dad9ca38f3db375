"""The unix socket of the control API, and who is at its other end."""

from __future__ import annotations

import socket
import stat
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from asyncio import Transport


class AdminSocket:
    """The listening socket at `unix:/PATH`, and its file as long as that is ours: another's is left alone.

    Raises:
        BriefcaseError: by the constructor; see `bound`.
    """

    def __init__(self, at: str, *, mode: int) -> None:
        self.listening: Final = bound(at, mode=mode)
        self._path: Final = Path(at.removeprefix("unix:"))
        self._file: Final = self._found()

    def allow(self, mode: int) -> None:
        """Who may connect from now on; what is open stays open. Raises OSError."""
        if self._found() == self._file:
            self._path.chmod(mode)

    def remove(self) -> None:
        """Take the file away, so that nobody looks for us there."""
        with suppress(OSError):
            if self._found() == self._file:
                self._path.unlink()

    def _found(self) -> tuple[int, int] | None:
        try:
            found = self._path.lstat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


def bound(at: str, *, mode: int) -> socket.socket:
    """A listening socket at `unix:/PATH` with that mode from its first moment. One that nobody serves is replaced.

    Raises:
        BriefcaseError: somebody serves it, it is no socket, or it cannot be made.
    """
    path = Path(at.removeprefix("unix:"))
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        listening.bind(str(path))  # nobody can connect before `listen`
        path.chmod(mode)
        listening.listen(64)
    except OSError as error:
        listening.close()
        raise BriefcaseError(f"{at}: {error.strerror or error}") from None
    listening.setblocking(False)
    return listening


def _clear(path: Path) -> None:
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise BriefcaseError(f"unix:{path}: there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise BriefcaseError(f"unix:{path}: another sidecar serves this socket")


def peer_uid(transport: Transport | None) -> int | None:
    """The user id at the other end of a unix socket; None for TCP, or where the platform does not tell."""
    raw = transport.get_extra_info("socket") if transport is not None else None
    if raw is None or raw.family != socket.AF_UNIX or sys.platform != "linux":
        return None
    _, uid, _ = struct.unpack("3i", raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(uid)
