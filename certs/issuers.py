"""Where the issuer of leaves comes from: our own root by way of a constrained intermediate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from certs.issue import Issuer, Span, intermediate_certificate, new_key, not_after_ms
from certs.roots import Root, RootFacts, RootStore, facts, new_root, rotated, signing, trusted

if TYPE_CHECKING:
    from cryptography import x509

    from certs.names import ManagedHosts
    from proxy.clock import Clock

INTERMEDIATE_LIFETIME_S: Final = 7 * 24 * 3600


class IssuerSource(Protocol):
    """Our own root, or an operator's issuing CA."""

    def issuer(self, hosts: ManagedHosts) -> Issuer:
        """What signs leaves for `hosts` now; the same object as long as its leaves may be kept.

        Raises:
            BriefcaseError: expired, or its state cannot be read.
        """
        ...

    def anchors(self) -> tuple[x509.Certificate, ...]:
        """The roots that an agent must trust now."""
        ...

    def facts(self) -> tuple[RootFacts, ...]:
        """What may be shown of them."""
        ...

    def rotate(self, overlap_s: int) -> None:
        """A new root. Raises `BriefcaseError` where that is not ours to do."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    issuer: Issuer
    span: Span
    root: Root
    hosts: ManagedHosts


class OwnIssuer:
    """A short-lived intermediate whose key never leaves this process, below a root that agents trust."""

    def __init__(self, store: RootStore, *, root_lifetime_s: int, clock: Clock) -> None:
        self._store: Final = store
        self._root_lifetime_s: Final = root_lifetime_s
        self._clock: Final = clock
        self._made: _Made | None = None

    def issuer(self, hosts: ManagedHosts) -> Issuer:
        """The intermediate; a new one at half life, for other hosts, and when another root's turn has come."""
        now_ms = self._clock.wall_ms()
        root, made = signing(self._store.current(), now_ms), self._made
        if made is None or made.root is not root or made.hosts != hosts or not made.span.fresh(now_ms):
            made = self._made = _make(root, hosts, now_ms)
        return made.issuer

    def anchors(self) -> tuple[x509.Certificate, ...]:
        """The trusted roots: two of them while they overlap."""
        return tuple(root.certificate for root in trusted(self._store.current(), self._clock.wall_ms()))

    def facts(self) -> tuple[RootFacts, ...]:
        """What may be shown of the trusted roots."""
        return facts(self._store.current(), self._clock.wall_ms())

    def rotate(self, overlap_s: int) -> None:
        """A new root beside the old one, which leaves the bundle after `overlap_s`."""
        now_ms = self._clock.wall_ms()
        new = new_root(now_ms, lifetime_s=self._root_lifetime_s)
        self._store.replace(lambda roots: rotated(roots, new, now_ms, overlap_s=overlap_s))


def _make(root: Root, hosts: ManagedHosts, now_ms: int) -> _Made:
    span = Span.starting(now_ms, INTERMEDIATE_LIFETIME_S, ends_ms=not_after_ms(root.certificate))
    key = new_key()
    cert = intermediate_certificate(key, Issuer(root.certificate, root.key, ()), hosts, span)
    return _Made(Issuer(cert, key, (cert,)), span, root, hosts)
