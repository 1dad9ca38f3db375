"""The PROXY protocol, version 2: what a forwarder says about a connection before its first byte. Pure.

Only what this product speaks: TCP over IPv4 or IPv6, and one TLV, the host name that the client had asked for.

Source: HAProxy, The PROXY protocol, sections 2.2 (binary header) and 2.2.1 (PP2_TYPE_AUTHORITY).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from proxy.canonical.host import parse_host

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
PREFIX_BYTES: Final = 16
"""The signature, the version and command, the family, and how many bytes follow."""
MAX_HEADER_BYTES: Final = PREFIX_BYTES + 1024
_PROXY: Final = 0x21
_FAMILIES: Final = {4: 0x11, 6: 0x21}
_AUTHORITY: Final = 0x02


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection came from and where it wanted to go.

    Attributes:
        source: address and port of the client.
        destination: address and port that it dialled.
        name: the host name it had asked for; None when it is not known.
    """

    source: tuple[str, int]
    destination: tuple[str, int]
    name: str | None


def encode(source: tuple[str, int], destination: tuple[str, int], name: str | None) -> bytes:
    """The header for a TCP connection. Raises ValueError for addresses of two families or a name over 255 bytes."""
    one, other = ip_address(source[0]), ip_address(destination[0])
    if one.version != other.version:
        raise ValueError("source and destination are of two families")
    addresses = one.packed + other.packed + struct.pack("!HH", source[1], destination[1])
    named = b"" if name is None else name.encode("ascii")
    if len(named) > 255:  # noqa: PLR2004  # RFC 1035, section 2.3.4
        raise ValueError("the name is too long")
    extra = struct.pack("!BH", _AUTHORITY, len(named)) + named if named else b""
    length = len(addresses) + len(extra)
    return SIGNATURE + struct.pack("!BBH", _PROXY, _FAMILIES[one.version], length) + addresses + extra


def following(prefix: bytes) -> int | None:
    """How many bytes follow the first `PREFIX_BYTES`; None when they are not a header that we take."""
    if len(prefix) != PREFIX_BYTES or not prefix.startswith(SIGNATURE) or prefix[12] != _PROXY:
        return None
    if prefix[13] not in _FAMILIES.values():
        return None
    length = int.from_bytes(prefix[14:16])
    return length if PREFIX_BYTES + length <= MAX_HEADER_BYTES else None


def decode(header: bytes) -> Origin | None:
    """A whole header; None when it breaks the format. TLVs of other types are skipped."""
    if following(header[:PREFIX_BYTES]) != len(header) - PREFIX_BYTES:
        return None
    six = header[13] == _FAMILIES[6]
    size = 16 if six else 4
    rest = header[PREFIX_BYTES:]
    if len(rest) < 2 * size + 4:
        return None
    make = IPv6Address if six else IPv4Address
    ports = struct.unpack("!HH", rest[2 * size : 2 * size + 4])
    names = _authorities(rest[2 * size + 4 :])
    if names is None or len(names) > 1:
        return None
    name = None
    if names and (name := parse_host(names[0])) is None:
        return None
    return Origin((str(make(rest[:size])), ports[0]), (str(make(rest[size : 2 * size])), ports[1]), name)


def _authorities(tlvs: bytes) -> list[bytes] | None:
    found = []
    while tlvs:
        if len(tlvs) < 3:  # noqa: PLR2004  # type and length
            return None
        kind, length = struct.unpack("!BH", tlvs[:3])
        if len(tlvs) < 3 + length:
            return None
        if kind == _AUTHORITY:
            found.append(tlvs[3 : 3 + length])
        tlvs = tlvs[3 + length :]
    return found
