"""`file:/path`: one secret in one file; a file that is replaced or rewritten is noticed at the next use."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from proxy.secret import Secret
from proxy.secretstore.store import SecretUnavailableError, stripped

MAX_BYTES: Final = 64 * 1024
type Version = tuple[int, int, int]


class FileStore:
    """Reads whole files, again only when size, time or inode changed."""

    def __init__(self) -> None:
        self._known: Final[dict[str, tuple[Version, Secret]]] = {}

    @staticmethod
    def bad_place(place: str) -> str | None:
        """Paths are absolute: a relative one would depend on where the sidecar was started."""
        return None if place.startswith("/") and "\0" not in place else "file: takes an absolute path"

    async def get(self, place: str) -> Secret:
        """The file's content without its last line end."""
        path = Path(place)
        try:
            status = path.stat()  # noqa: ASYNC240  # microseconds, at every use: that is how a rotation is noticed
            known = self._known.get(place)
            if known is not None and known[0] == _version(status):
                return known[1]
            if not stat.S_ISREG(status.st_mode):  # opening a device may do something
                raise SecretUnavailableError("file", f"{place} is not a regular file")
            version, content = _read(place)
        except OSError as error:
            raise SecretUnavailableError("file", f"{place}: {error.strerror}") from None
        secret = Secret(f"file:{place}", stripped(content))
        self._known[place] = (version, secret)
        return secret


def _version(status: os.stat_result) -> Version:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(place: str) -> tuple[Version, bytes]:
    """The file that was opened, whatever stands at `place` by now. A pipe is not waited for."""
    descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        content = os.read(descriptor, MAX_BYTES + 1) if stat.S_ISREG(status.st_mode) else None
    finally:
        os.close(descriptor)
    if content is None or len(content) > MAX_BYTES:
        raise SecretUnavailableError("file", f"{place} is not a regular file of at most {MAX_BYTES} bytes")
    return _version(status), content
