"""`env:NAME`: a variable of the sidecar's own environment, as it was when the process started."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.secret import Secret
from proxy.secretstore.store import SecretUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class EnvStore:
    """Reads a copy of the environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._secrets: Final = {name: Secret(f"env:{name}", value) for name, value in environment.items()}

    @staticmethod
    def bad_place(place: str) -> str | None:
        """A variable's name is letters, digits and underscores."""
        return None if _NAME.fullmatch(place) else "env: takes the name of a variable"

    async def get(self, place: str) -> Secret:
        """The variable's value."""
        secret = self._secrets.get(place)
        if not secret:
            raise SecretUnavailableError("env", f"variable {place} is not set")
        return secret
