"""One connection or datagram, and what came back: who answered, who refused, or nobody.

An ICMP error names who sent it (`IP_RECVERR`), which tells a peer's refusal from a firewall's.

Source: ip(7), `IP_RECVERR`; ipv6(7), `IPV6_RECVERR`.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.confine.probe.ways import Seen

if TYPE_CHECKING:
    from proxy.confine.probe.ways import Target

IP_RECVERR: Final = 11
IPV6_RECVERR: Final = 25
MSG_ERRQUEUE: Final = 0x2000
FROM_ICMP: Final = (2, 3)
NOT_PERMITTED: Final = (errno.EPERM, errno.EACCES)
REFUSED: Final = (errno.ECONNREFUSED, errno.ECONNRESET)
MOST_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, with at most 4,096 bytes of it."""

    seen: Seen
    data: bytes = b""


def dial(target: Target, *, timeout_s: float) -> Reply:
    """Connect by TCP and close again."""
    return converse(target, None, timeout_s=timeout_s)


def converse(target: Target, hello: bytes | None, *, timeout_s: float) -> Reply:
    """Connect by TCP; where `hello` is not None send it and read once. Silence after connecting is no data."""
    try:
        connection = opened(target, socket.SOCK_STREAM, timeout_s)
    except OSError as error:
        return Reply(_seen_of(error))
    with connection:
        try:
            connection.connect((target.address, target.port))
        except TimeoutError:
            return Reply(Seen.TIMEOUT)
        except OSError as error:
            return Reply(_judged(error, connection, target))
        if hello is None:
            return Reply(Seen.CONNECTED)
        try:
            connection.sendall(hello)
            return Reply(Seen.CONNECTED, connection.recv(MOST_BYTES))
        except OSError:
            return Reply(Seen.CONNECTED)


def ask(target: Target, datagram: bytes, *, timeout_s: float) -> Reply:
    """Send one UDP datagram and wait for one."""
    try:
        connection = opened(target, socket.SOCK_DGRAM, timeout_s)
    except OSError as error:
        return Reply(_seen_of(error))
    return exchange(connection, target, datagram)


def exchange(connection: socket.socket, target: Target, datagram: bytes) -> Reply:
    """Send `datagram` over a datagram or raw socket that has a timeout, wait for one, close."""
    with connection:
        try:
            connection.connect((target.address, target.port))
            connection.send(datagram)
            return Reply(Seen.ANSWERED, connection.recv(MOST_BYTES))
        except TimeoutError:
            return Reply(Seen.TIMEOUT)
        except OSError as error:
            return Reply(_judged(error, connection, target))


def opened(target: Target, kind: socket.SocketKind, timeout_s: float, protocol: int = 0) -> socket.socket:
    """A socket of the target's family that will say who sent an ICMP error. Raises OSError."""
    six = target.version == 6  # noqa: PLR2004
    made = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind, protocol)
    made.settimeout(timeout_s)
    with contextlib.suppress(OSError):
        level, option = (socket.IPPROTO_IPV6, IPV6_RECVERR) if six else (socket.IPPROTO_IP, IP_RECVERR)
        made.setsockopt(level, option, 1)
    return made


def _judged(error: OSError, connection: socket.socket, target: Target) -> Seen:
    """Who refused: the peer, something between that stands near, or a router outside."""
    if (sender := _icmp_sender(connection)) is None:
        return _seen_of(error)
    if sender == ipaddress.ip_address(target.address):
        return Seen.REFUSED_BY_PEER
    if sender.is_global and not _is_ours(sender):
        return Seen.UNREACHABLE_OUTSIDE
    return Seen.REJECTED


def _seen_of(error: OSError) -> Seen:
    if error.errno in NOT_PERMITTED:
        return Seen.NOT_PERMITTED
    return Seen.REFUSED_BY_PEER if error.errno in REFUSED else Seen.NO_ROUTE


def _icmp_sender(connection: socket.socket) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    connection.settimeout(0)
    with contextlib.suppress(OSError):
        _, ancillary, _, _ = connection.recvmsg(MOST_BYTES, MOST_BYTES, MSG_ERRQUEUE)
        for _, kind, data in ancillary:
            if kind in (IP_RECVERR, IPV6_RECVERR) and data[4] in FROM_ICMP:
                return _sender(data[16:])
    return None


def _sender(address: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The `sockaddr` behind a `sock_extended_err`."""
    family = struct.unpack_from("=H", address)[0]
    if family == socket.AF_INET:
        return ipaddress.IPv4Address(address[4:8])
    return ipaddress.IPv6Address(address[8:24]) if family == socket.AF_INET6 else None


def _is_ours(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004
    with socket.socket(family, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind((str(address), 0))
        except OSError:
            return False
        return True
