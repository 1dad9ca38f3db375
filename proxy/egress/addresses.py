"""Which addresses may be dialled: our own table, because `ipaddress.is_global` calls metadata services global. Pure.

Sources: the IANA special-purpose registries (RFC 6890 and its updates) and the cloud vendors' metadata endpoints.
"""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address
type Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Reach(StrEnum):
    """What kind of address it is. `PUBLIC` may be dialled, `PRIVATE` and `LOOPBACK` where the operator names them."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    METADATA = "metadata"
    RESERVED = "reserved"


def _networks(*blocks: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(block) for block in blocks)


# The first table that contains an address decides, so metadata stands before the ranges it lies in.
_TABLE: Final[tuple[tuple[Reach, tuple[Network, ...]], ...]] = (
    (
        Reach.METADATA,
        _networks(
            "169.254.0.0/16",  # RFC 3927; AWS, Azure, GCP, OpenStack; ECS 169.254.170.2, EKS 169.254.170.23
            "168.63.129.16/32",  # Azure WireServer
            "100.100.100.200/32",  # Alibaba Cloud
            "192.0.0.192/32",  # Oracle Cloud
            "fe80::/10",
            "fd00:ec2::/32",  # AWS IMDS, EKS
            "fd20:ce::/32",  # Google Cloud
            "fd00:42::42/128",  # Scaleway
        ),
    ),
    (Reach.LOOPBACK, _networks("127.0.0.0/8", "::1/128")),
    (
        Reach.PRIVATE,
        _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "198.18.0.0/15"),
    ),
    (
        Reach.RESERVED,
        _networks(
            "0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24",
            "192.175.48.0/24", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
            "::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16",
            "2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fec0::/10", "ff00::/8",
        ),
    ),
)  # fmt: skip
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP: Final = (0x00005EFE, 0x02005EFE)
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")


@lru_cache(maxsize=4096)
def classify(address: Address) -> Reach:
    """What kind of address this is; an IPv4 address inside an IPv6 one counts as itself."""
    if isinstance(address, ipaddress.IPv6Address):
        number = int(address)
        if address in _MAPPED or address in _NAT64 or (number >> 32) & 0xFFFFFFFF in _ISATAP:
            inner = classify(ipaddress.IPv4Address(number & 0xFFFFFFFF))
            return Reach.RESERVED if inner is Reach.PUBLIC else inner
        if address.scope_id is not None:
            return Reach.METADATA
    for reach, networks in _TABLE:
        if any(address.version == network.version and address in network for network in networks):
            return reach
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return Reach.RESERVED
    return Reach.PUBLIC


METADATA_NAMES: Final = frozenset(
    {"metadata.google.internal", "metadata", "instance-data", "instance-data.ec2.internal"}
)


def is_metadata(host: str) -> bool:
    """Whether a canonical host names a cloud's metadata service, by address or by a name that means one."""
    if host in METADATA_NAMES:
        return True
    try:
        return classify(ipaddress.ip_address(host)) is Reach.METADATA
    except ValueError:
        return False


def permitted(address: Address, allow_private: Iterable[str]) -> bool:
    """Whether `address` may be dialled; `allow_private` are CIDR blocks that the operator named for this host.

    Metadata and reserved addresses cannot be opened by any configuration.
    """
    reach = classify(address)
    if reach is Reach.PUBLIC:
        return True
    if reach not in (Reach.PRIVATE, Reach.LOOPBACK):
        return False
    blocks = [ipaddress.ip_network(block) for block in allow_private]
    return any(address.version == block.version and address in block for block in blocks)


def unopenable(block: str) -> str | None:
    """Why an operator's `block` can never be allowed, or None.

    Raises:
        ValueError: it is not an address or CIDR block.
    """
    network = ipaddress.ip_network(block)
    for reach, networks in _TABLE:
        if reach in (Reach.METADATA, Reach.RESERVED):
            for forbidden in networks:
                if network.version == forbidden.version and network.overlaps(forbidden):
                    return f"it contains {reach} addresses ({forbidden})"
    return None
