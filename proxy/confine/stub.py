"""A resolver that asks nobody: every name gets an address of its own, which leads back to the name.

What an agent resolves never leaves, so DNS carries nothing out, and no answer of anybody else's can choose where a
credential goes.

Source: RFC 1035, sections 4.1 and 4.2; RFC 2544, appendix C.2.2 (198.18.0.0/15); RFC 6761, section 6.3 (localhost).
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import OrderedDict
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Final, override

from proxy.canonical.host import parse_host

NETWORK: Final = IPv4Network("198.18.0.0/15")
RESERVED: Final = 16
"""Addresses at the start of the network that are never given to a name."""
MOST_NAMES: Final = 16_384
TTL_S: Final = 60
IDLE_S: Final = 10.0
HEADER_BYTES: Final = 12
LABEL_BYTES: Final = 63
NAME_BYTES: Final = 255
_A, _AAAA, _IN = 1, 28, 1
_FORMERR, _NXDOMAIN, _NOTIMP, _REFUSED = 1, 3, 4, 5
_RESPONSE, _RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x8000, 0x0100, 0x0080
_POINTER_TO_QUESTION: Final = 0xC000 | HEADER_BYTES


class Names:
    """Names with their synthetic addresses. Beyond `most`, the name that was not used for longest is forgotten.

    An address is given out anew only after all others of the network: a client that keeps an old answer then has an
    address without a name, not one with another name.
    """

    def __init__(self, *, network: IPv4Network = NETWORK, most: int = MOST_NAMES) -> None:
        self._first: Final = int(network.network_address) + RESERVED
        self._size: Final = network.num_addresses - RESERVED
        self._most: Final = min(most, self._size)
        self._addresses: Final[OrderedDict[str, int]] = OrderedDict()
        self._names: Final[dict[int, str]] = {}
        self._next = 0

    def address_of(self, name: str) -> IPv4Address:
        """The address of a canonical name."""
        found = self._addresses.get(name)
        if found is None:
            if len(self._addresses) >= self._most:
                _, freed = self._addresses.popitem(last=False)
                del self._names[freed]
            found = self._free()
            self._addresses[name] = found
            self._names[found] = name
        self._addresses.move_to_end(name)
        return IPv4Address(found)

    def name_of(self, address: str) -> str | None:
        """The name that `address` was given out for; None for any other address."""
        parsed = ip_address(address)
        name = self._names.get(int(parsed)) if parsed.version == 4 else None  # noqa: PLR2004
        if name is not None:
            self._addresses.move_to_end(name)
        return name

    def _free(self) -> int:
        while True:
            candidate = self._first + self._next % self._size
            self._next += 1
            if candidate not in self._names:
                return candidate


def answer(query: bytes, names: Names) -> bytes | None:
    """The response to one message; None where it deserves none. Additional records (EDNS) are not looked at.

    Names that are no host name do not exist; other types than A have no data, so that no service record moves a client
    to another port, protocol or key (HTTPS, SVCB).
    """
    if len(query) < HEADER_BYTES:
        return None
    number, flags, questions, answers = struct.unpack("!HHHH", query[:8])
    if flags & _RESPONSE:
        return None
    if flags & 0x7800:
        return _response(number, flags, _NOTIMP)
    asked = _question(query) if questions == 1 and answers == 0 else None
    if asked is None:
        return _response(number, flags, _FORMERR)
    labels, kind, family, question = asked
    if family != _IN:
        return _response(number, flags, _REFUSED, question)
    name = parse_host(b".".join(labels)) if labels else None
    if name is None or _is_address(name) or b"" in labels or any(b"." in label for label in labels):
        return _response(number, flags, _NXDOMAIN, question)
    return _response(number, flags, 0, question, _data(name, kind, names))


def _data(name: str, kind: int, names: Names) -> bytes | None:
    here = name == "localhost" or name.endswith(".localhost")
    if kind == _A:
        return (IPv4Address("127.0.0.1") if here else names.address_of(name)).packed
    return ip_address("::1").packed if here and kind == _AAAA else None


def _is_address(name: str) -> bool:
    return name.rpartition(".")[2].isdigit()


def _question(query: bytes) -> tuple[list[bytes], int, int, bytes] | None:
    """Labels, type, class and the bytes of the one question; None when it is malformed or compressed."""
    labels = []
    at = HEADER_BYTES
    while True:
        length = query[at] if at < len(query) else LABEL_BYTES + 1
        if length > LABEL_BYTES or at + 1 + length - HEADER_BYTES > NAME_BYTES:
            return None
        at += 1
        if length == 0:
            break
        labels.append(query[at : at + length])
        at += length
    if len(query) < at + 4:
        return None
    kind, family = struct.unpack("!HH", query[at : at + 4])
    return labels, kind, family, query[HEADER_BYTES : at + 4]


def _response(number: int, flags: int, code: int, question: bytes = b"", data: bytes | None = None) -> bytes:
    said = _RESPONSE | flags & (0x7800 | _RECURSION_DESIRED) | _RECURSION_AVAILABLE | code
    head = struct.pack("!HHHHHH", number, said, 1 if question else 0, 0 if data is None else 1, 0, 0)
    if data is None:
        return head + question
    kind = _A if len(data) == 4 else _AAAA  # noqa: PLR2004
    return head + question + struct.pack("!HHHIH", _POINTER_TO_QUESTION, kind, _IN, TTL_S, len(data)) + data


class Datagrams(asyncio.DatagramProtocol):
    """The stub over UDP: hand it to `create_datagram_endpoint`."""

    def __init__(self, names: Names) -> None:
        self._names: Final = names
        self._transport: asyncio.DatagramTransport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport)
        self._transport = transport

    @override
    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        response = answer(data, self._names)
        if response is not None and self._transport is not None:
            self._transport.sendto(response, addr)


async def serve_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, names: Names) -> None:
    """The stub over one TCP connection (RFC 7766): each message after its length."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
        while True:
            async with asyncio.timeout(IDLE_S):
                length = int.from_bytes(await reader.readexactly(2))
                response = answer(await reader.readexactly(length), names)
                if response is None:
                    break
                writer.write(len(response).to_bytes(2) + response)
                await writer.drain()
    writer.close()
