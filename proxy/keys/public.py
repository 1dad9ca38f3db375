"""The public half of a signing key. Pure."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import rfc8785

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUIRED: dict[str, tuple[str, ...]] = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
}
"""The members that a thumbprint covers (RFC 7638, section 3.2; RFC 8037, section 2)."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What may be known of a key.

    Attributes:
        algorithm: JOSE name (RFC 7518, RFC 9864) of what it signs with: `ES256`, `Ed25519`, `RS256`, …
        jwk: public members only (RFC 7517).
        certificates: DER, the leaf first; empty where there is none.
    """

    algorithm: str
    jwk: Mapping[str, str]
    certificates: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def thumbprint(self) -> str:
        """SHA-256 thumbprint, base64url without padding (RFC 7638)."""
        members = {name: self.jwk[name] for name in REQUIRED[self.jwk["kty"]]}
        return base64url(hashlib.sha256(rfc8785.dumps(members)).digest())


def base64url(raw: bytes) -> str:
    """Without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """The bytes of strict, unpadded base64url.

    Raises:
        ValueError: other characters, padding, or bits that would be lost.
    """
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if "=" in text or base64url(raw) != text:
        raise ValueError("not canonical base64url")
    return raw
