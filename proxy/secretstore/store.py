"""What a secret store is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from proxy.secret import Secret


class SecretUnavailableError(BriefcaseError):
    """A store has no such secret, or could not be asked. The text names the store and the reason, never a value."""

    def __init__(self, scheme: str, reason: str) -> None:
        super().__init__(f"{scheme}: secret unavailable: {reason}")
        self.reason = reason


class SecretStore(Protocol):
    """Where long-lived secrets rest."""

    @staticmethod
    def bad_place(place: str) -> str | None:
        """What is wrong with the part of a secret ref after the scheme, or None."""
        ...

    async def get(self, place: str) -> Secret:
        """The secret as it is now. Raises `SecretUnavailableError`."""
        ...


def stripped(raw: bytes) -> bytes:
    """Without the line end that editors and commands append."""
    return raw.rstrip(b"\r\n")
