"""`CertificateAuthority`: certificates for managed hosts, towards agents only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from cryptography.hazmat.primitives import serialization

from certs.issuers import IssuerSource, OwnIssuer
from certs.leaf import Leaf, Leaves
from certs.names import ManagedHosts, NotManagedError
from certs.roots import EPHEMERAL_LIFETIME_S, OVERLAP_S, ROOT_LIFETIME_S, MemoryRoots, RootFacts, new_root
from certs.storage import DirectoryRoots
from certs.supplied import supplied_issuer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from proxy.clock import Clock
    from proxy.secret import Secret


class CertificateAuthority:
    """Issues leaves for the hosts it is held to, and says what agents must trust. For one event loop.

    It starts from `ephemeral`, `load_or_create` or `from_issuer`. Patterns are as in `ManagedHosts.of`; without
    patterns nothing is managed.
    """

    def __init__(self, *, source: IssuerSource, hosts: ManagedHosts, clock: Clock) -> None:
        self._source: Final = source
        self._clock: Final = clock
        self._hosts = hosts
        self._leaves: Final = Leaves()

    @classmethod
    def ephemeral(cls, *, patterns: Iterable[str], clock: Clock) -> Self:
        """A root in memory that lasts two days. Raises `BriefcaseError` for a bad pattern."""
        store = MemoryRoots((new_root(clock.wall_ms(), lifetime_s=EPHEMERAL_LIFETIME_S),))
        source = OwnIssuer(store, root_lifetime_s=EPHEMERAL_LIFETIME_S, clock=clock)
        return cls(source=source, hosts=ManagedHosts.of(patterns), clock=clock)

    @classmethod
    def load_or_create(cls, directory: Path, *, patterns: Iterable[str], passphrase: Secret, clock: Clock) -> Self:
        """The root that rests in `directory`, made there on first use; several processes may do so at once.

        Raises:
            BriefcaseError: a bad pattern, or files that are unreadable, damaged, open to others, or not ours.
        """
        hosts = ManagedHosts.of(patterns)
        store = DirectoryRoots.open(directory, passphrase=passphrase, clock=clock)
        return cls(source=OwnIssuer(store, root_lifetime_s=ROOT_LIFETIME_S, clock=clock), hosts=hosts, clock=clock)

    @classmethod
    def from_issuer(cls, certificate_pem: bytes, key_pem: bytes, *, clock: Clock, patterns: Iterable[str] = ()) -> Self:
        """An operator's issuing CA: its certificate, then its chain. Name constraints are the operator's to set.

        Raises:
            BriefcaseError: a bad pattern, or an issuer that cannot issue (`certs.supplied.supplied_issuer`).
        """
        source = supplied_issuer(certificate_pem, key_pem, clock=clock)
        return cls(source=source, hosts=ManagedHosts.of(patterns), clock=clock)

    def leaf(self, host: str) -> Leaf:
        """The certificate for `host`, a canonical name or IP literal: the same object until it is renewed.

        Raises:
            NotManagedError: no pattern covers the host.
            BriefcaseError: the CA has expired, or its state cannot be read.
        """
        if not self._hosts.covers(host):
            raise NotManagedError
        return self._leaves.get(host, self._source.issuer(self._hosts), self._clock.wall_ms())

    def rehost(self, patterns: Iterable[str]) -> None:
        """Hold the CA to these hosts from now on: if they differ, a new intermediate below the same root, new leaves.

        Raises:
            BriefcaseError: a bad pattern; nothing has changed then.
        """
        self._hosts = ManagedHosts.of(patterns)

    def rotate(self, *, overlap_s: int = OVERLAP_S) -> None:
        """A new root. The old one signs for half of the overlap, and is trusted to its end; 0 drops it at once.

        Raises:
            BriefcaseError: a rotation is under way, the issuer is the operator's, or the state cannot be written.
        """
        self._source.rotate(overlap_s)

    def bundle_pem(self) -> bytes:
        """The roots that an agent must trust, and nothing else.

        Two while they overlap; none if the operator's file does not hold its root.
        """
        return b"".join(cert.public_bytes(serialization.Encoding.PEM) for cert in self._source.anchors())

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the root that signs now, as `openssl x509 -fingerprint -sha256` prints it."""
        return next(root.fingerprint for root in self.roots() if root.state == "signing")

    def roots(self) -> tuple[RootFacts, ...]:
        """What may be shown of the roots, for `briefcased ca show`."""
        return self._source.facts()
