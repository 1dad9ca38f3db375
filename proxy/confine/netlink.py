"""Netlink messages: what brings a fresh network namespace up, and transactions of nf_tables.

Written out here because a start needs few messages, and a general netlink library takes longer to load than all the
rest of it.

Source: netlink(7), rtnetlink(7); linux/netfilter/nfnetlink.h and nf_tables.h.
"""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import ip_address
from typing import Final

from proxy.confine.errors import ConfineError

NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
NLM_F_CREATE: Final = 0x400
NLM_F_APPEND: Final = 0x800
NLMSG_ERROR: Final = 2
NLA_F_NESTED: Final = 0x8000
NETLINK_ROUTE: Final = 0
NETLINK_NETFILTER: Final = 12
HEADER_BYTES: Final = 16
ANSWER_S: Final = 5.0
ANSWER_BYTES: Final = 64 * 1024

LOOPBACK_INDEX: Final = 1
_NEWLINK, _NEWADDR, _NEWROUTE = 16, 20, 24
_IFF_UP: Final = 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_F_NODAD = 1, 2, 2
_RTA_OIF, _RTA_PREFSRC = 4, 7
_TABLE_LOCAL, _SCOPE_HOST, _ROUTE_LOCAL, _PROTOCOL_STATIC = 255, 254, 2, 4
_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NFTABLES: Final = 10

type Message = tuple[int, int, bytes]
"""Type, flags beyond request and acknowledge, and what follows the header."""


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + b"\0" * (-length % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds others."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """An attribute with a C string."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """An attribute with 32 bits in network order, as nf_tables wants its numbers."""
    return attribute(kind, struct.pack("!I", value & 0xFFFFFFFF))


def bring_up(addresses: tuple[str, ...]) -> None:
    """Loopback up with `addresses` (of IPv4 or IPv6) beside its own, and every address there is local to it.

    A family that the kernel does not have is left out: nothing can be sent with it.

    Raises:
        ConfineError: the kernel refuses.
    """
    _send_one(NETLINK_ROUTE, (_NEWLINK, 0, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 1, _IFF_UP, _IFF_UP)))
    for text_ in addresses:
        address = ip_address(text_)
        family = _FAMILIES[address.version]
        if address.version == 6 and not os.path.exists("/proc/sys/net/ipv6"):  # noqa: PLR2004, PTH110
            continue
        head = struct.pack("=BBBBI", family, address.max_prefixlen, _IFA_F_NODAD, 0, LOOPBACK_INDEX)
        local = attribute(_IFA_LOCAL, address.packed) + attribute(_IFA_ADDRESS, address.packed)
        _send_one(NETLINK_ROUTE, (_NEWADDR, NLM_F_CREATE, head + local))
        route = struct.pack("=8BI", family, 0, 0, 0, _TABLE_LOCAL, _PROTOCOL_STATIC, _SCOPE_HOST, _ROUTE_LOCAL, 0)
        route += attribute(_RTA_OIF, struct.pack("=I", LOOPBACK_INDEX)) + attribute(_RTA_PREFSRC, address.packed)
        _send_one(NETLINK_ROUTE, (_NEWROUTE, NLM_F_CREATE, route))


def transaction(messages: list[Message]) -> None:
    """Give nf_tables `messages`, all or none. Their types are those of nf_tables, without its subsystem.

    Raises:
        ConfineError: the kernel refuses, or has no nf_tables.
    """
    edge = struct.pack("!BBH", socket.AF_UNSPEC, 0, _NFTABLES)
    batch = [(_BATCH_BEGIN, 0, edge)]
    batch += [(_NFTABLES << 8 | kind, flags | NLM_F_ACK, data) for kind, flags, data in messages]
    try:
        _exchange(NETLINK_NETFILTER, [*batch, (_BATCH_END, 0, edge)], answers=len(messages))
    except OSError as error:
        raise ConfineError(f"the kernel does not take nf_tables rules: {error.strerror}") from None


def _send_one(protocol: int, message: Message) -> None:
    kind, flags, data = message
    try:
        _exchange(protocol, [(kind, flags | NLM_F_ACK, data)], answers=1)
    except OSError as error:
        raise ConfineError(f"the network namespace cannot be brought up: {error.strerror}") from None


def _exchange(protocol: int, messages: list[Message], *, answers: int) -> None:
    """Send all at once and wait for so many acknowledgements. Raises OSError for the first that is an error."""
    data = b"".join(
        struct.pack("=IHHII", HEADER_BYTES + len(body), kind, NLM_F_REQUEST | flags, index, 0) + body
        for index, (kind, flags, body) in enumerate(messages)
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as kernel:
        kernel.settimeout(ANSWER_S)
        kernel.bind((0, 0))
        kernel.send(data)
        while answers > 0:
            answers -= _acknowledged(kernel.recv(ANSWER_BYTES))


def _acknowledged(data: bytes) -> int:
    found = 0
    while len(data) >= HEADER_BYTES:
        length, kind = struct.unpack("=IH", data[:6])
        if kind == NLMSG_ERROR:
            (code,) = struct.unpack("=i", data[HEADER_BYTES : HEADER_BYTES + 4])
            if code:
                raise OSError(-code, os.strerror(-code))
            found += 1
        data = data[(length + 3) & ~3 :]
    return found
