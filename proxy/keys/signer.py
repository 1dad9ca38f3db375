"""What a key that signs is, wherever it rests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from proxy.keys.public import PublicKey


class KeyUnavailableError(BriefcaseError):
    """A key is missing, cannot be reached or does not fit. The text is ours and holds no key material."""


class Signer(Protocol):
    """One private key."""

    @property
    def public(self) -> PublicKey:
        """Its public half."""
        ...

    async def sign(self, message: bytes) -> bytes:
        """The signature over `message`, in the form that JOSE uses (ECDSA: R and S, fixed length, RFC 7518 3.4).

        Raises:
            KeyUnavailableError: it cannot be made.
        """
        ...
