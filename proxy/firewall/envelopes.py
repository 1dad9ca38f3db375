"""Bodies that are a row of length-prefixed messages: gRPC, gRPC-Web and Connect streams.

Each message is scanned on its own and leaves whole at its end, so that a conversation never waits for the next one,
and its length never changes, because prefixes (also those inside a protobuf) tell it. A compressed one leaves plain.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.firewall.decoders import CODECS, Decoder
from proxy.firewall.scanner import FittedScanner
from proxy.firewall.withheld import WithheldError

if TYPE_CHECKING:
    from proxy.firewall.vocabulary import Vocabulary
    from proxy.model import Headers

PREFIX_BYTES: Final = 5
COMPRESSED: Final = 0x01
FLAGS: Final = frozenset({0x00, 0x02, 0x80})
"""A message; the end of a Connect stream; the trailers of gRPC-Web. Each may be `COMPRESSED` besides.

None is a character of a credential: a value that a provider merely repeats cannot be cut by a prefix.
"""
MAX_COMPRESSED_BYTES: Final = 16 * 1024 * 1024
"""A compressed message must be whole to be searched."""
MEDIA_TYPE: Final = re.compile(r"application/(?:grpc|grpc-web|connect)(?:\+[a-z0-9.-]+)?", re.IGNORECASE)
COMPRESSED_MESSAGES: Final = frozenset({"grpc-accept-encoding", "connect-accept-encoding"})
"""Headers in which an agent asks for compressed messages; some providers do not ask."""
ENCODINGS: Final = ("grpc-encoding", "connect-content-encoding")


def is_enveloped(headers: Headers) -> bool:
    """Whether these headers are those of such a body."""
    types = [value.partition(";")[0].strip() for name, value in headers if name == "content-type"]
    return len(types) == 1 and MEDIA_TYPE.fullmatch(types[0]) is not None


def message_coding(headers: Headers) -> str | None:
    """The coding of compressed messages, where we can read it."""
    named = {value.strip().lower() for name, value in headers if name in ENCODINGS}
    return named.pop() if len(named) == 1 and named <= set(CODECS) else None


class EnvelopeFilter:
    """A `ChunkFilter` over length-prefixed messages; compressed ones are of `coding`.

    Source: gRPC over HTTP/2, "Length-Prefixed-Message"; the Connect protocol, "Enveloped-Message".
    """

    def __init__(self, vocabulary: Vocabulary, coding: str | None) -> None:
        self._vocabulary: Final = vocabulary
        self._coding: Final = coding
        self._scanner = FittedScanner(vocabulary)
        self._prefix = b""
        self._left = 0
        self._collected: bytearray | None = None
        self._ended_hits = 0

    @property
    def hits(self) -> int:
        """How many occurrences were replaced so far."""
        return self._ended_hits + self._scanner.hits

    def feed(self, data: bytes) -> bytes:
        """See `ChunkFilter`. Raises `WithheldError` for what cannot be decoded, or is no such row of messages."""
        if not data:
            return self._scanner.end() if self._left else b""
        out: list[bytes] = []
        while data:
            step = self._message if self._left else self._begin
            piece, data = step(data)
            out.append(piece)
        return b"".join(out)

    def _begin(self, data: bytes) -> tuple[bytes, bytes]:
        """A prefix, once it is whole; and what follows it."""
        missing = PREFIX_BYTES - len(self._prefix)
        self._prefix += data[:missing]
        if self._prefix[0] & ~COMPRESSED not in FLAGS:
            raise WithheldError("the body is no row of messages")
        if len(self._prefix) < PREFIX_BYTES:
            return b"", b""
        prefix, self._prefix = self._prefix, b""
        self._left = int.from_bytes(prefix[1:])
        if not prefix[0] & COMPRESSED or not self._left:
            return prefix, data[missing:]
        if self._coding is None or self._left > MAX_COMPRESSED_BYTES:
            raise WithheldError("a compressed message cannot be read")
        self._collected = bytearray((prefix[0] & ~COMPRESSED,))
        return b"", data[missing:]

    def _message(self, data: bytes) -> tuple[bytes, bytes]:
        """What may leave of a message, and what follows it."""
        piece, rest = data[: self._left], data[self._left :]
        self._left -= len(piece)
        if self._collected is not None:
            self._collected += piece
            return (b"" if self._left else self._decoded()), rest
        clean = self._scanner.feed(piece)
        return (clean if self._left else clean + self._end()), rest

    def _decoded(self) -> bytes:
        """The collected message, plain, with a prefix of its own."""
        assert self._collected is not None
        assert self._coding is not None
        flag, encoded = self._collected[:1], bytes(self._collected[1:])
        self._collected = None
        decoder = Decoder(CODECS[self._coding]())
        plain = decoder.feed(encoded)
        decoder.finish()
        clean = (self._scanner.feed(plain) if plain else b"") + self._end()
        return bytes(flag) + len(clean).to_bytes(4) + clean

    def _end(self) -> bytes:
        rest = self._scanner.end()
        self._ended_hits += self._scanner.hits
        self._scanner = FittedScanner(self._vocabulary)
        return rest
