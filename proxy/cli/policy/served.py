"""Whether commands about versions ask the control API, or read the state directory of this machine themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.cli.api_client import URL, api_client
from proxy.cli.state import read_state
from proxy.errors import BriefcaseError
from proxy.settings import environment, home

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.cli.api_client import ApiClient


def served(url: str | None, token_file: Path | None) -> ApiClient | None:
    """The API that is named, or that of the sidecar that runs here; None where none runs, or it has no socket.

    Raises:
        BriefcaseError: one is named, and no token for it is at hand.
    """
    if url is not None or URL in environment() or _socket() is not None:
        return api_client(url, token_file)
    return None


def runs() -> bool:
    """Whether a sidecar runs with this state directory."""
    try:
        read_state(home())
    except BriefcaseError:
        return False
    return True


def _socket() -> str | None:
    return read_state(home()).admin if runs() else None
