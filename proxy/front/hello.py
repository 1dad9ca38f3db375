"""What a ClientHello says, before any handshake (RFC 8446, sections 4.1.2 and 5.1; RFC 6066, section 3). Pure."""

from __future__ import annotations

from typing import Final

from proxy.canonical import parse_host

HANDSHAKE: Final = 0x16
RECORD_HEADER_BYTES: Final = 5
MAX_RECORD_BYTES: Final = 16 * 1024
ACCESS_DENIED: Final = b"\x15\x03\x03\x00\x02\x02\x31"
"""A fatal alert `access_denied` (RFC 8446, section 6.2): TLS clients then say that they were refused."""
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_HOST_NAME: Final = 0


def hello_missing(data: bytes) -> int | None:
    """Bytes still missing of the first TLS record; 0 when it is complete; None when this is not TLS."""
    if data[:1] and data[0] != HANDSHAKE:
        return None
    if data[1:2] and data[1] != 3:  # noqa: PLR2004  # the record layer's major version, RFC 8446 section 5.1
        return None
    if len(data) < RECORD_HEADER_BYTES:
        return RECORD_HEADER_BYTES - len(data)
    length = int.from_bytes(data[3:5])
    if not 4 <= length <= MAX_RECORD_BYTES:  # noqa: PLR2004  # a handshake header has four bytes
        return None
    return max(0, RECORD_HEADER_BYTES + length - len(data))


def server_name(record: bytes) -> str | None:
    """The host that the first TLS record of a client names; None when it names none, two, or is not well-formed.

    A hello that does not end within its first record has no name for us.
    """
    try:
        return _server_name(_Reader(record[RECORD_HEADER_BYTES:]))
    except _ShortError:
        return None


class _ShortError(Exception):
    """A length points behind the end."""


class _Reader:
    """Length-prefixed vectors of TLS (RFC 8446, section 3.4)."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, count: int) -> bytes:
        if len(self._data) < count:
            raise _ShortError
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> _Reader:
        return _Reader(self.take(self.number(size)))

    def __bool__(self) -> bool:
        return bool(self._data)


def _server_name(reader: _Reader) -> str | None:
    if reader.number(1) != _CLIENT_HELLO:
        return None
    hello = reader.vector(3)
    hello.take(2 + 32)  # legacy_version, random
    for size in (1, 2, 1):  # session id, cipher suites, compression methods
        hello.vector(size)
    names: list[bytes] = []
    extensions = hello.vector(2) if hello else _Reader(b"")
    while extensions:
        kind, extension = extensions.number(2), extensions.vector(2)
        if kind == _SERVER_NAME:
            listed = extension.vector(2)
            while listed:
                if listed.number(1) != _HOST_NAME:
                    return None
                length = listed.number(2)
                names.append(listed.take(length))
    return parse_host(names[0]) if len(names) == 1 and not names[0].startswith(b"[") else None
