"""Where a socket of one command's sidecar can stand."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_PATH_BYTES: Final = 107
"""unix(7): 108 with the zero at its end."""
LAST_RESORT: Final = Path("/tmp")  # noqa: S108  # a fresh private directory is made in it
SAMPLE: Final = "run-12345678"


@contextlib.contextmanager
def socket_folder(preferred: Path, name: str) -> Iterator[Path]:
    """A fresh private directory below `preferred` in which a socket called `name` has a path that is short enough.

    Where there is none: below the system's temporary directory, or /tmp.

    Raises:
        BriefcaseError: none of them can be written.
    """
    for parent in (preferred, Path(tempfile.gettempdir()), LAST_RESORT):
        if len(os.fsencode(parent / SAMPLE / name)) > MOST_PATH_BYTES:
            continue
        try:
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = tempfile.TemporaryDirectory(prefix="run-", dir=parent)
        except OSError:
            continue
        with folder as path:
            yield Path(path)
        return
    raise BriefcaseError(
        f"no directory for a socket: {preferred} and the temporary directory are too long or read-only"
    )
