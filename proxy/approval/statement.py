"""What an approver signs to say yes or no with a key: one canonical text. Pure.

It names the approval, the fingerprint of the request, the card that was shown, the answer, the approver, the time and a
nonce, and the standing grant where one is made; so a signature is good for that one answer, once (J-18).

Form: canonical JSON (RFC 8785), signed as a JOSE signature (Ed25519: RFC 8032; ES256: RFC 7518, section 3.4).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import rfc8785

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.approval.grants import Terms

PURPOSE: Final = "credential-briefcase approval vote"
ALGORITHMS: Final = frozenset({"Ed25519", "ES256"})
MAX_AGE_MS: Final = 5 * 60 * 1000
MAX_AHEAD_MS: Final = 30 * 1000
"""How far the approver's clock may be ahead of ours."""
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{22,64}")
"""At least 128 bits in base64url."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The standing grant that goes with a yes; `path` is its template."""

    terms: Terms
    path: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What an approver's tool sends beside the answer.

    Attributes:
        key: id of the key that signed, its RFC 7638 thumbprint.
        at_ms: when it signed, Unix time.
        nonce: of at least 128 bits, base64url, never used before.
    """

    key: str
    at_ms: int
    nonce: str
    signature: bytes = field(repr=False)

    def fresh(self, now_ms: int) -> bool:
        """Whether it was signed a moment ago, with a nonce that counts."""
        recent = now_ms - MAX_AGE_MS <= self.at_ms <= now_ms + MAX_AHEAD_MS
        return recent and _NONCE.fullmatch(self.nonce) is not None


class Text(Protocol):
    """What was signed, as this side builds it."""

    def __call__(self, *, at_ms: int, nonce: str) -> bytes:
        """With the time and the nonce that the proof says."""
        ...


def statement(
    *,
    approval: str,
    fingerprint: str,
    card: Mapping[str, object],
    yes: bool,
    approver: str,
    at_ms: int,
    nonce: str,
    grant: Wish | None = None,
) -> bytes:
    """The text to sign; `card` as it was shown, JSON."""
    granted: dict[str, int | str] | None = None
    if grant is not None:
        terms = grant.terms
        granted = {
            "for_s": terms.for_s,
            "max_uses": terms.max_uses,
            "max_cost_microusd": str(terms.max_cost_microusd),  # RFC 8785 numbers end at 2**53
            "path": grant.path,
        }
    return rfc8785.dumps(
        {
            "purpose": PURPOSE,
            "version": 1,
            "approval": approval,
            "fingerprint": fingerprint,
            "card_sha256": card_digest(card),
            "answer": "yes" if yes else "no",
            "approver": approver,
            "at_ms": at_ms,
            "nonce": nonce,
            "grant": granted,
        }
    )


def card_digest(card: Mapping[str, object]) -> str:
    """SHA-256 of the card in canonical form, hexadecimal."""
    exact = {name: str(value) if isinstance(value, int) else value for name, value in card.items()}
    return hashlib.sha256(rfc8785.dumps(exact)).hexdigest()  # type: ignore[arg-type]  # JSON
