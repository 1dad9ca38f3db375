"""Who writes a chain: a lock file that the operating system releases when its process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

FOLDER: Final = "chains"


class ChainLock:
    """Held while the file is open."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor: Final = descriptor
        self._path: Final = path

    def release(self, *, remove: bool = True) -> None:
        """Let go; with `remove` the file goes too, while nobody else can hold it."""
        if remove:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def try_lock(home: Path, chain: str) -> ChainLock | None:
    """The lock of `chain`; None when a running process has it."""
    folder = home / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{chain}.lock"
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if _is_still(descriptor, path):
            return ChainLock(descriptor, path)
        os.close(descriptor)  # removed by its holder between our opening and locking it


def is_live(home: Path, chain: str) -> bool:
    """Whether a running process writes `chain`."""
    if not (home / FOLDER / f"{chain}.lock").exists():
        return False
    lock = try_lock(home, chain)
    if lock is not None:
        lock.release(remove=False)
    return lock is None


def _is_still(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
