"""Listening sockets, wherever they come from; who is at the other end of a connection."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator, Mapping

BACKLOG: Final = 1024
_INTERNET: Final = (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, slots=True)
class Listening:
    """One socket that is bound, and is ours to close.

    Attributes:
        endpoint: as the configuration writes it, with the port that was picked.
        path: of a unix socket that we have made, to be removed at the end.
    """

    socket: socket.socket
    endpoint: str
    path: Path | None = None

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port of a TCP socket."""
        name = self.socket.getsockname()
        return (name[0], name[1]) if self.socket.family in _INTERNET else None

    def close(self) -> None:
        """Close it and leave no file behind."""
        self.socket.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def open_sockets(at: str, *, uids: tuple[int, ...], activated: Mapping[str, tuple[int, ...]]) -> list[Listening]:
    """The sockets of a listener at `at` (see `ListenAt`); `uids` other than our own must be able to connect.

    Raises:
        BriefcaseError: taken, not permitted, or not a listening stream socket.
    """
    kind, _, rest = at.partition(":")
    try:
        if kind == "unix":
            return [_unix(Path(rest), public=any(uid != os.geteuid() for uid in uids))]
        if kind == "fd":
            return [_inherited(int(rest), at)]
        if kind == "systemd":
            if rest not in activated:
                raise BriefcaseError(f"{at}: the service manager passed no socket of this name")
            return [_inherited(number, at) for number in activated[rest]]
        return list(_tcp(at))
    except OSError as error:
        raise BriefcaseError(f"{at}: {error.strerror or error}") from None


def _tcp(at: str) -> Iterator[Listening]:
    host, _, port = at.rpartition(":")
    host, number = host.strip("[]"), int(port)
    opened: list[Listening] = []
    try:
        for family, _, _, _, (address, *_) in socket.getaddrinfo(
            host, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            made = socket.socket(family, socket.SOCK_STREAM)
            with contextlib.ExitStack() as undo:
                undo.callback(made.close)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                made.bind((address, number))
                undo.pop_all()
            number = made.getsockname()[1]
            opened.append(Listening(made, f"{at.rpartition(':')[0]}:{number}"))
    except OSError:
        for one in opened:
            one.close()
        raise
    yield from opened


def _unix(path: Path, *, public: bool) -> Listening:
    """Bind `path`. A socket that a crashed process left there is removed, one that is in use is not."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise BriefcaseError(f"unix:{path}: there is a file that is not a socket")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            else:
                raise BriefcaseError(f"unix:{path}: another process listens there")
    made = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        made.bind(str(path))
        if public:  # who connects is asked for its user id in any case
            path.chmod(0o666)
    except OSError:
        made.close()
        raise
    finally:
        os.umask(before)
    return Listening(made, f"unix:{path}", path)


def _inherited(number: int, at: str) -> Listening:
    try:
        made = socket.socket(fileno=number)
    except OSError:
        raise BriefcaseError(f"{at}: descriptor {number} is not an open socket") from None
    if made.type != socket.SOCK_STREAM or made.family not in (*_INTERNET, socket.AF_UNIX):
        made.detach()
        raise BriefcaseError(f"{at}: descriptor {number} is not a TCP or unix stream socket")
    with contextlib.suppress(OSError):
        made.getpeername()
        made.detach()
        raise BriefcaseError(f"{at}: descriptor {number} is a connection, not a listener")
    made.set_inheritable(False)
    return Listening(made, at)


# -- the other end ---------------------------------------------------------------------------------------------------


def peer_uid(writer: asyncio.StreamWriter) -> int | None:
    """The user id at the other end of a unix socket; None for TCP, or where the platform does not tell."""
    raw = cast("socket.socket", writer.get_extra_info("socket"))
    if raw.family != socket.AF_UNIX:
        return None
    if sys.platform != "linux":
        return None
    _, uid, _ = struct.unpack("3i", raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(uid)


def source(writer: asyncio.StreamWriter) -> str:
    """Where a connection comes from, as failed attempts are counted: the address, or the user of a unix socket."""
    peer = writer.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else f"uid {peer_uid(writer)}"
