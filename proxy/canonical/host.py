"""Hosts and authorities: ASCII grammar before any resolver sees a name (RFC 1123, 2.1; RFC 3986, 3.2; RFC 5952)."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Final

from proxy.model import Authority

MAX_HOST_BYTES: Final = 253
MAX_PORT: Final = 65_535
_NAME: Final = re.compile(rb"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER_LABEL: Final = re.compile(rb"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_IPV4: Final = re.compile(rb"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})")
_AUTHORITY: Final = re.compile(rb"([^:\[\]@/]+|\[[0-9A-Fa-f:.]+\])(?::([1-9][0-9]{0,4}))?")


@lru_cache(maxsize=4096)
def parse_host(text: bytes) -> str | None:
    """The canonical form of a DNS name or an IP literal (IPv6 in brackets), or None when it is not one.

    One trailing dot is dropped. A name whose last label is a number is an IPv4 address or nothing: decimal, octal,
    hexadecimal and short spellings, which resolvers read in different ways, are refused.
    """
    if text.startswith(b"["):
        if not text.endswith(b"]") or b"%" in text:  # zones (RFC 6874) mean something on one machine only
            return None
        try:
            return ipaddress.IPv6Address(text[1:-1].decode("ascii", "replace")).compressed
        except ValueError:
            return None
    name = text.lower()
    name = name.removesuffix(b".")
    if len(name) > MAX_HOST_BYTES or not _NAME.fullmatch(name):
        return None
    if _NUMBER_LABEL.fullmatch(name):
        if not _IPV4.fullmatch(name):
            return None
        try:
            return str(ipaddress.IPv4Address(name.decode("ascii")))
        except ValueError:
            return None
    return name.decode("ascii")


def is_local(host: str) -> bool:
    """Whether a canonical host means this machine whatever a resolver says (RFC 6761, section 6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=4096)
def parse_authority(text: bytes, default_port: int | None) -> Authority | None:
    """`host[:port]`, or None when it is malformed, or has no port and there is no default."""
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        return None
    host = parse_host(found[1])
    port = int(found[2]) if found[2] is not None else default_port
    if host is None or port is None or port > MAX_PORT:
        return None
    return Authority(host, port)
