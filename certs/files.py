"""Files that must be whole and, where they hold keys, private."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIVATE_FILE: Final = 0o600
PRIVATE_DIRECTORY: Final = 0o700
LOCK_TRIES: Final = 200
LOCK_PAUSE_S: Final = 0.05

type Stamp = tuple[int, int, int]
"""Inode, time of change in ns, and size: differs whenever a file was replaced."""


def write_atomically(path: Path, data: bytes, *, mode: int) -> None:
    """Readers see the old file or the new one, also after a crash. Raises `BriefcaseError`."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)
    except OSError as error:
        raise BriefcaseError(f"{path} cannot be written: {error.strerror}") from error


def read_private(path: Path) -> tuple[bytes, Stamp]:
    """The content and the stamp of a file that holds a key.

    Group bits are taken away rather than refused: Kubernetes sets them on every file of a volume with an `fsGroup`.

    Raises:
        FileNotFoundError: there is none.
        BriefcaseError: unreadable, not a regular file, or open to every account of the machine.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            _check_private(path, status)
            if status.st_mode & 0o070:
                os.fchmod(file.fileno(), PRIVATE_FILE)
                status = os.fstat(file.fileno())
            return file.read(), _stamp(status)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BriefcaseError(f"{path} cannot be read: {error.strerror}") from error


def stamp(path: Path) -> Stamp:
    """The stamp of the file as it is now. Raises `BriefcaseError`."""
    try:
        return _stamp(path.stat())
    except OSError as error:
        raise BriefcaseError(f"{path} cannot be read: {error.strerror}") from error


def private_directory(path: Path) -> None:
    """Make `path` a directory that is ours alone, with its parents. Raises `BriefcaseError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(PRIVATE_DIRECTORY)
    except OSError as error:
        raise BriefcaseError(f"{path} cannot be made a private directory: {error.strerror}") from error


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory's lock; the kernel frees it if the process dies. Raises `BriefcaseError` after ten seconds."""
    path = directory / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    except OSError as error:
        raise BriefcaseError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        _acquire(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path) -> None:
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_S)
        else:
            return
    raise BriefcaseError(f"{path} is held by another process")


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BriefcaseError(f"{path} is not a regular file")
    if status.st_mode & 0o007:
        raise BriefcaseError(
            f"{path} holds a key and is open to every account on this machine: treat the CA as stolen"
            " (remove its directory and let agents fetch the new bundle), or take the access away with chmod 0600"
        )


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
