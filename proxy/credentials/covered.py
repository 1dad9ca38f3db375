"""What a message signature covers and says of itself (RFC 9421, RFC 9530): words that need no library. Pure."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

JOSE: Final[Mapping[str, str]] = {
    "ed25519": "Ed25519",
    "ecdsa-p256-sha256": "ES256",
    "ecdsa-p384-sha384": "ES384",
    "rsa-pss-sha512": "PS512",
    "rsa-v1_5-sha256": "RS256",
}
"""Names of RFC 9421, section 6.2.2, and what the same signatures are called in RFC 7518 and RFC 9864."""
COMPONENT: Final = re.compile(
    r'@?[a-z0-9-]+|"@?[a-z0-9-]+"(?:;[a-z][a-z0-9_.*-]*(?:="[\x20-\x21\x23-\x5b\x5d-\x7e]*")?)*'
)
_NOT_OURS: Final = frozenset({"@signature-params", "@status"})


class UnsignableError(ValueError):
    """The request cannot be signed as asked: a covered field is missing or malformed. The text is ours."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a signature says of itself, besides its components (RFC 9421, section 2.3)."""

    label: str
    algorithm: str
    keyid: str
    created_s: int
    expires_s: int | None = None
    nonce: str | None = None
    tag: str | None = None
    include_alg: bool = True


def content_digest(body: bytes, algorithm: str) -> str:
    """The value of `Content-Digest` (RFC 9530, section 2); `algorithm` is `sha-256` or `sha-512`."""
    raw = hashlib.new(algorithm.replace("-", ""), body).digest()
    return f"{algorithm}=:{base64.b64encode(raw).decode()}:"


def name_of(component: str) -> str:
    """Of a component as it is written in a profile: `"x";sf` is `x`."""
    return component.split('"')[1] if component.startswith('"') else component


def mistake_in(components: tuple[str, ...]) -> str | None:
    """What is wrong with a list of components, or None."""
    if any(COMPONENT.fullmatch(c) is None or name_of(c) in _NOT_OURS for c in components):
        return 'a component is a lower-case field name or one of @method, @target-uri, …, or "name";key="member"'
    return "a component stands twice" if len(set(components)) < len(components) else None
