"""The first bytes of what the check speaks: TLS, HTTP, DNS, QUIC, ICMP. Pure but for random numbers."""

from __future__ import annotations

import secrets
import ssl
import struct
from typing import Final

DNS_NS: Final = 2
QUIC_BYTES: Final = 1200
QUIC_GREASE: Final = b"\x1a\x2a\x3a\x4a"
ECHO: Final = {4: 8, 6: 128}


def client_hello(name: str) -> bytes:
    """A TLS ClientHello that asks for `name`."""
    outgoing = ssl.MemoryBIO()
    session = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake without a peer cannot end")


def hello_for(port: int, name: str) -> bytes:
    """What a client says first to `port`: HTTP to 80, nothing where the server speaks first, else TLS."""
    if port == 80:  # noqa: PLR2004
        return f"HEAD / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()
    return b"" if port in (22, 25, 587) else client_hello(name)


def dns_query() -> bytes:
    """A question for the name servers of the root: only what resolves names outside can answer (RFC 1035)."""
    return struct.pack(">HHHHHH", secrets.randbits(16), 0x0100, 1, 0, 0, 0) + b"\0" + struct.pack(">HH", DNS_NS, 1)


def over_tcp(message: bytes) -> bytes:
    """A DNS message with its length in front (RFC 1035, section 4.2.2)."""
    return len(message).to_bytes(2) + message


def quic_initial() -> bytes:
    """A datagram in the form of a QUIC Initial, of a version that nobody speaks: a server answers with its versions.

    Source: RFC 9000, sections 6.1 and 15; RFC 8999, section 5.1.
    """
    head = b"\xc0" + QUIC_GREASE + b"\x08" + secrets.token_bytes(8) + b"\x08" + secrets.token_bytes(8)
    return head + secrets.token_bytes(QUIC_BYTES - len(head))


def echo_request(version: int) -> bytes:
    """An ICMP echo request (RFC 792, RFC 4443); for IPv6 the kernel fills in the checksum."""
    body = struct.pack(">HH", secrets.randbits(16), 1) + secrets.token_bytes(16)
    head = bytes((ECHO[version], 0))
    return head + _checksum(head + b"\0\0" + body) + body


def _checksum(message: bytes) -> bytes:
    """RFC 1071."""
    total: int = sum(struct.unpack(f">{len(message) // 2}H", message))
    total = (total & 0xFFFF) + (total >> 16)
    folded = ~(total + (total >> 16)) & 0xFFFF
    return folded.to_bytes(2)
