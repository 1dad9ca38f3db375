"""Which hosts the CA may speak for, and how a certificate says so."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from cryptography import x509

from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Iterable

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_NAME: Final = 253
NAME: Final = re.compile(
    r"(?!(?:.*\.)?[0-9]+\Z)"  # a last label of digits alone is an address that was not understood, not a name
    r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
FAMILIES: Final = (ipaddress.IPv4Network("0.0.0.0/0"), ipaddress.IPv6Network("::/0"))


class NotManagedError(BriefcaseError):
    """No pattern covers the host, so no certificate is made for it."""

    def __init__(self) -> None:
        super().__init__("the interception CA has no pattern that covers this host")


def address_of(host: str) -> Address | None:
    """The address that `host` spells in canonical form, else None."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return address if str(address) == host and "%" not in host else None


def is_name(host: str) -> bool:
    """Whether `host` is a lower-case ASCII DNS name without a trailing dot or a wildcard."""
    return len(host) <= MAX_NAME and NAME.fullmatch(host) is not None


@dataclass(frozen=True, slots=True)
class ManagedHosts:
    """The hosts that patterns name.

    Attributes:
        exact: DNS names.
        parents: `example.com` for the pattern `*.example.com`, which means exactly one more label.
        addresses: IP literals.
    """

    exact: frozenset[str]
    parents: frozenset[str]
    addresses: frozenset[Address]

    @classmethod
    def of(cls, patterns: Iterable[str]) -> Self:
        """Read patterns: `api.example.com`, `*.example.com` or a canonical IP literal without brackets.

        Raises:
            BriefcaseError: anything else, also a wildcard directly below a top-level domain.
        """
        exact: set[str] = set()
        parents: set[str] = set()
        addresses: set[Address] = set()
        for pattern in patterns:
            parent = pattern.removeprefix("*.")
            if (address := address_of(pattern)) is not None:
                addresses.add(address)
            elif not is_name(parent) or (parent != pattern and "." not in parent):
                raise BriefcaseError(f"{pattern!r} is not a host pattern that the interception CA can be held to")
            else:
                (exact if parent == pattern else parents).add(parent)
        return cls(frozenset(exact), frozenset(parents), frozenset(addresses))

    def covers(self, host: str) -> bool:
        """Whether a pattern names `host`; a host that is not in canonical form is never covered."""
        if (address := address_of(host)) is not None:
            return address in self.addresses
        return is_name(host) and (host in self.exact or host.partition(".")[2] in self.parents)

    def constraints(self) -> x509.NameConstraints:
        """What the issuing certificate is held to; whatever kind of name has no pattern is excluded as a whole.

        A name without a subtree in `permitted` is only restricted if its *kind* has one, hence the exclusions:
        RFC 5280, section 4.2.1.10. A DNS subtree always holds the names below it as well.
        """
        names = self.exact | self.parents
        permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in sorted(outermost(names))]
        permitted += [x509.IPAddress(ipaddress.ip_network(a)) for a in sorted(self.addresses, key=str)]
        versions = {address.version for address in self.addresses}
        excluded: list[x509.GeneralName] = [x509.IPAddress(f) for f in FAMILIES if f.version not in versions]
        if not names:
            excluded.append(x509.DNSName(""))
        return x509.NameConstraints(permitted or None, excluded or None)


def outermost(names: Iterable[str]) -> frozenset[str]:
    """The names that are not below another one of them."""
    known = frozenset(names)
    return frozenset(name for name in known if not any(parent in known for parent in _parents(name)))


def _parents(name: str) -> Iterable[str]:
    labels = name.split(".")
    return (".".join(labels[i:]) for i in range(1, len(labels)))
