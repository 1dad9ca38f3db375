"""Whether the state directory is closed to other accounts: keys and receipts rest in it."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from proxy.errors import BriefcaseError
from proxy.model import Mode

if TYPE_CHECKING:
    from pathlib import Path

_log: Final = logging.getLogger("proxy.up")
OTHERS: Final = 0o077


def require_closed(home: Path, mode: Mode) -> None:
    """A directory of ours that others may enter is a warning in `reference`, and an error in `staging` and `ga`.

    One that belongs to another account was made by the platform for us (a volume of Kubernetes): a warning, for its
    mode is not ours to set.

    Raises:
        BriefcaseError: it is open.
    """
    try:
        status = home.stat()
    except FileNotFoundError:
        return  # it will be made, closed
    if not status.st_mode & OTHERS:
        return
    message = f"{home} is open to other accounts: chmod 700 {home}"
    if mode is Mode.REFERENCE or status.st_uid != os.geteuid():
        _log.warning("%s", message)
    else:
        raise BriefcaseError(f"{message}; mode {mode} starts only with a closed one")
