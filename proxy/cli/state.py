"""What a running `briefcased up` tells other commands, in its state directory."""

from __future__ import annotations

import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson

from proxy.errors import BriefcaseError
from proxy.secret import Secret
from proxy.settings import environment

STATE: Final = "sidecar.json"
PASSPHRASE_FILE: Final = "BRIEFCASED_PASSPHRASE_FILE"  # noqa: S105  # a variable's name


@dataclass(frozen=True, slots=True)
class SidecarState:
    """One snapshot. `reloads` counts attempts; `error` says why the last one changed nothing.

    `proxy` and `more` are listeners' endpoints: HOST:PORT, unix:/PATH, fd:N or systemd:NAME. `admin` is the
    control API's unix socket, where there is one.
    """

    pid: int
    proxy: str
    control: str
    generation: int
    reloads: int
    error: str | None
    more: tuple[str, ...] = ()
    admin: str | None = None


def write_state(home: Path, state: SidecarState) -> None:
    """Replace the snapshot in one step."""
    draft = home / f".{STATE}.{secrets.token_hex(4)}"
    draft.write_bytes(orjson.dumps(asdict(state)))
    draft.replace(home / STATE)


def read_state(home: Path) -> SidecarState:
    """The snapshot of the sidecar that runs now.

    Raises:
        BriefcaseError: none runs with this state directory.
    """
    try:
        state = SidecarState(**orjson.loads((home / STATE).read_bytes()))
        os.kill(state.pid, 0)
    except (OSError, orjson.JSONDecodeError, TypeError):
        raise BriefcaseError(f"no sidecar runs with the state directory {home}; start one: briefcased up") from None
    return state


def local_passphrase() -> Secret | None:
    """The passphrase of the `local:` store, from the file that the operator names; None where there is none.

    Raises:
        BriefcaseError: the file cannot be read.
    """
    named = environment().get(PASSPHRASE_FILE)
    if named is None:
        return None
    try:
        return Secret("passphrase", Path(named).read_bytes().rstrip(b"\r\n"))
    except OSError as error:
        raise BriefcaseError(f"{PASSPHRASE_FILE}: {named}: {error.strerror}") from None
