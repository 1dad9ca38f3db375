"""The state directory and the room that it has."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING, Final

from proxy.cli.doctor.report import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proxy.cli.doctor.checks.situation import Situation

CHECK: Final = "state"
DISK: Final = "disk"
OTHERS: Final = 0o077
SECRET_FILES: Final = ("briefcased.db", "stand-ins.key")
MIB: Final = 1024 * 1024
LITTLE: Final = 1024 * MIB
TOO_LITTLE: Final = 100 * MIB


def state(situation: Situation) -> Iterator[Finding]:
    """Owner, modes, and whether it can be written to."""
    home = situation.home
    if not home.exists():
        parent = existing(home)
        if os.access(parent, os.W_OK):
            yield Finding(CHECK, Level.OK, f"{home} does not exist yet, and can be made")
        else:
            yield Finding(
                CHECK, Level.PROBLEM, f"{home} cannot be made", f"Make {parent} writable, or set BRIEFCASED_HOME."
            )
        return
    if not home.is_dir():
        yield Finding(CHECK, Level.PROBLEM, f"{home} is not a directory", "Move it away, or set BRIEFCASED_HOME.")
        return
    yield from _modes(home)
    if not os.access(home, os.W_OK | os.X_OK):
        yield Finding(
            CHECK, Level.PROBLEM, f"{home} cannot be written to", "Give it to the account that runs the sidecar."
        )


def _modes(home: Path) -> Iterator[Finding]:
    about = home.stat()
    open_ = [path for path in (home, *(home / name for name in SECRET_FILES)) if _open(path)]
    for path in open_:
        mode = "0700" if path.is_dir() else "0600"
        level = Level.PROBLEM if path.stat().st_mode & stat.S_IWOTH else Level.WARNING
        yield Finding(CHECK, level, f"{path} is open to other accounts", f"Run: chmod {mode} {path}")
    if about.st_uid != os.geteuid():
        text = f"{home} belongs to account {about.st_uid}, not to this one"
        yield Finding(CHECK, Level.WARNING, text, "Run the sidecar as that account, or set BRIEFCASED_HOME.")
    if not open_:
        yield Finding(CHECK, Level.OK, f"{home} is closed to other accounts")


def _open(path: Path) -> bool:
    return path.exists() and bool(path.stat().st_mode & OTHERS)


def disk(situation: Situation) -> Iterator[Finding]:
    """Without room receipts cannot be written, and then every call is refused."""
    place = existing(situation.home)
    free = shutil.disk_usage(place).free
    text = f"{free // MIB} MiB free at {place}"
    remedy = "Make room: without receipts every call is refused."
    level = Level.PROBLEM if free < TOO_LITTLE else Level.WARNING if free < LITTLE else Level.OK
    yield Finding(DISK, level, text, "" if level is Level.OK else remedy)


def existing(path: Path) -> Path:
    """The nearest directory above that exists."""
    return path if path.exists() else existing(path.parent)
