"""`file:/path`: one secret in one file; a file that is replaced or rewritten is noticed at the next use."""

from __future__ import annotations

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
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
            known = self._known.get(place)
            if known is not None and known[0] == version:
                return known[1]
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
                raise SecretUnavailableError("file", f"{place} is not a regular file of at most {MAX_BYTES} bytes")
            secret = Secret(f"file:{place}", stripped(path.read_bytes()))  # noqa: ASYNC240
        except OSError as error:
            raise SecretUnavailableError("file", f"{place}: {error.strerror}") from None
        self._known[place] = (version, secret)
        return secret
