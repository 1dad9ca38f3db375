"""Packages of Node that a test needs, installed from their lock file."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path


def installed(folder: Path) -> str | None:
    """Install what `folder` locks, once per checkout, whatever the number of test processes; says why that failed."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return "no node with npm"
    done = folder / "node_modules" / ".package-lock.json"
    with (folder / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists() and done.stat().st_mtime >= (folder / "package-lock.json").stat().st_mtime:
            return None
        command = f"cd {folder} && {npm} ci --no-audit --no-fund --ignore-scripts --fetch-retries=1 --fetch-timeout=30000 >&2 && touch {done}"
        return None if os.system(command) == 0 else f"npm cannot install {folder.parent.name}/{folder.name}"
