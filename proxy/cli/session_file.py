"""Where the command line keeps the sessions of `briefcased operators login`: one file, for its owner alone."""

from __future__ import annotations

import os
import secrets
import stat
from typing import TYPE_CHECKING, Any, Final

import orjson

from proxy.errors import BriefcaseError
from proxy.settings import home

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "operator-sessions.json"
MAX_BYTES: Final = 256 * 1024
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def place() -> Path:
    """In the state directory of whoever runs the command."""
    return home() / FILE


def kept(at: str) -> str | None:
    """The token of the session at the API `at`, None where there is none. Raises `BriefcaseError`."""
    entry = _read().get(at)
    token = entry.get("token") if isinstance(entry, dict) else None
    return token if isinstance(token, str) else None


def keep(at: str, session: dict[str, Any]) -> None:
    """Write `session` down, in place of another one at the same API. Raises `BriefcaseError`."""
    _write({**_read(), at: session})


def forget(at: str) -> None:
    """Drop the session at `at`. Raises `BriefcaseError`."""
    left = _read()
    if left.pop(at, None) is not None:
        _write(left)


def _read() -> dict[str, Any]:
    path = place()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BriefcaseError(f"{path}: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if found.st_uid != os.geteuid() or found.st_mode & OTHERS:
            raise BriefcaseError(f"{path}: others may read or change it; remove it, and log in again")
        try:
            value = orjson.loads(file.read(MAX_BYTES))
        except orjson.JSONDecodeError:
            raise BriefcaseError(f"{path}: cannot be read; remove it, and log in again") from None
    return value if isinstance(value, dict) else {}


def _write(sessions: dict[str, Any]) -> None:
    path = place()
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(sessions))
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise BriefcaseError(f"{path}: {error.strerror}") from None
