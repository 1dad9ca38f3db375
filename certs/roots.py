"""The roots that agents trust, and which of them signs: rotation as arithmetic over values.

A rotation adds a root and divides the overlap in two halves:

    now ............ half ............ end
    old root signs   | new root signs
    both are in the bundle             | the old root is gone

In the first half every agent picks up the bundle with both; in the second, sidecars whose clocks or state lag behind
are still trusted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, Protocol

from cryptography.hazmat.primitives import hashes

from certs.issue import Span, new_key, not_after_ms, not_before_ms, root_certificate
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

ROOT_LIFETIME_S: Final = 3650 * 24 * 3600
EPHEMERAL_LIFETIME_S: Final = 2 * 24 * 3600
OVERLAP_S: Final = 7 * 24 * 3600


@dataclass(frozen=True, slots=True, eq=False)
class Root:
    """A root with its key.

    Attributes:
        signs_from_ms: it signs from then on, until another root's turn comes.
        trusted_until_ms: it leaves the bundle then; None while nothing is to take its place.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    signs_from_ms: int
    trusted_until_ms: int | None


type Roots = tuple[Root, ...]


class RootStore(Protocol):
    """Where the roots rest."""

    def current(self) -> Roots:
        """All roots. Raises `BriefcaseError` where they cannot be read."""
        ...

    def replace(self, change: Callable[[Roots], Roots]) -> None:
        """Put `change(roots)` in the place of the roots, durably, against every other writer."""
        ...


class MemoryRoots:
    """Roots that end with the process."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots

    def current(self) -> Roots:
        """All roots."""
        return self._roots

    def replace(self, change: Callable[[Roots], Roots]) -> None:
        """Put `change(roots)` in their place."""
        self._roots = change(self._roots)


@dataclass(frozen=True, slots=True)
class RootFacts:
    """What may be shown of a root.

    Attributes:
        fingerprint: SHA-256 over the DER certificate, upper-case hex pairs with colons, as `openssl x509` prints it.
        state: `next` waits for its turn, `retiring` is still trusted but signs nothing.
    """

    subject: str
    fingerprint: str
    state: Literal["signing", "next", "retiring"]
    not_before_ms: int
    not_after_ms: int
    signs_from_ms: int
    trusted_until_ms: int | None


def new_root(now_ms: int, *, lifetime_s: int) -> Root:
    """A root that signs at once and stays."""
    key = new_key()
    span = Span.starting(now_ms, lifetime_s, ends_ms=now_ms + lifetime_s * 1000)
    return Root(root_certificate(key, span), key, signs_from_ms=span.not_before_ms, trusted_until_ms=None)


def trusted(roots: Roots, now_ms: int) -> Roots:
    """The roots that belong into a bundle."""
    return tuple(r for r in roots if r.trusted_until_ms is None or r.trusted_until_ms > now_ms)


def signing(roots: Roots, now_ms: int) -> Root:
    """The trusted root whose turn came last.

    Raises:
        BriefcaseError: none has its turn, as the clock stands before all of them.
    """
    begun = [root for root in trusted(roots, now_ms) if root.signs_from_ms <= now_ms]
    if not begun:
        raise BriefcaseError("no root of the interception CA is valid yet; is the clock right?")
    return max(begun, key=lambda root: root.signs_from_ms)


def rotated(roots: Roots, new: Root, now_ms: int, *, overlap_s: int) -> Roots:
    """`new` beside what is trusted, with its turn at half of the overlap; alone and at once if `overlap_s` is 0.

    Raises:
        BriefcaseError: a negative overlap, or an earlier rotation is still under way.
    """
    if overlap_s < 0:
        raise BriefcaseError("the overlap of a rotation cannot be negative")
    if overlap_s == 0:
        return (new,)
    old = trusted(roots, now_ms)
    if len(old) > 1:
        raise BriefcaseError("a rotation is under way; wait for its end, or drop the old roots at once with overlap 0")
    end_ms = now_ms + overlap_s * 1000
    waiting = replace(new, signs_from_ms=now_ms + overlap_s * 500)
    return (*(replace(root, trusted_until_ms=end_ms) for root in old), waiting)


def facts(roots: Roots, now_ms: int) -> tuple[RootFacts, ...]:
    """What may be shown of the trusted roots, in the order of their turns."""
    signer = signing(roots, now_ms)
    return tuple(_facts(root, signer) for root in sorted(trusted(roots, now_ms), key=lambda root: root.signs_from_ms))


def fingerprint(cert: x509.Certificate) -> str:
    """SHA-256, upper-case hex pairs with colons."""
    return cert.fingerprint(hashes.SHA256()).hex(":").upper()


def _facts(root: Root, signer: Root) -> RootFacts:
    state: Literal["signing", "next", "retiring"] = "signing"
    if root is not signer:
        state = "next" if root.signs_from_ms > signer.signs_from_ms else "retiring"
    return RootFacts(
        subject=root.certificate.subject.rfc4514_string(),
        fingerprint=fingerprint(root.certificate),
        state=state,
        not_before_ms=not_before_ms(root.certificate),
        not_after_ms=not_after_ms(root.certificate),
        signs_from_ms=root.signs_from_ms,
        trusted_until_ms=root.trusted_until_ms,
    )
