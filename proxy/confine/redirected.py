"""Where a connection that the packet filter redirected had wanted to go.

Source: linux/netfilter_ipv4.h (SO_ORIGINAL_DST), linux/netfilter_ipv6/ip6_tables.h (IP6T_SO_ORIGINAL_DST).
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Final

ORIGINAL_DESTINATION: Final = 80
"""The option's number, for IPv4 and IPv6 alike."""
IPPROTO_IPV6: Final = 41
_MAPPED: Final = "::ffff:"


def dialled(connection: socket.socket) -> tuple[str, int] | None:
    """Address and port that the client had dialled; None when it came here by itself, or not over TCP."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    host, port, *_ = connection.getsockname()
    host = host.removeprefix(_MAPPED)
    six = ":" in host
    try:
        data = connection.getsockopt(IPPROTO_IPV6 if six else socket.SOL_IP, ORIGINAL_DESTINATION, 28 if six else 16)
    except OSError:
        return None
    there = str(ip_address(data[8:24] if six else data[4:8])), int.from_bytes(data[2:4])
    return None if there == (host, port) else there
