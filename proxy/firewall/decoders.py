"""Bounded streaming decoders for the content codings that we ask for.

Whatever a chunk holds is given out at once, up to a ceiling: a decoder never collects, and never inflates a bomb.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, Protocol

import brotli  # type: ignore[import-untyped]
import zstandard

from proxy.firewall.withheld import WithheldError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

STEP_BYTES: Final = 256 * 1024
"""What a codec may give out before the ceilings are checked again."""
MAX_BYTES_PER_CHUNK: Final = 16 * 1024 * 1024
FREE_BYTES: Final = 1024 * 1024
"""Up to here the ratio does not matter."""
MAX_RATIO: Final = 1000
ZSTD_WINDOW_BYTES: Final = 8 * 1024 * 1024
"""Source: RFC 9659, section 3."""
ZSTD_SLICE_BYTES: Final = 256
"""zstandard has no output limit: four bytes make a block of 128 KiB, so a slice makes 8 MiB at most."""
GZIP_BITS: Final = 31
ZLIB_BITS: Final = 15
RAW_BITS: Final = -15


class Codec(Protocol):
    """One coding: pours bytes in, yields bounded pieces, and knows whether what it saw is whole."""

    def pour(self, data: bytes) -> Iterator[bytes]:
        """Decoded pieces of `data`. Raises the library's error."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the input may end here."""
        ...


class Gzip:
    """gzip, also several members in a row. Source: RFC 1952, section 2.2."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(GZIP_BITS)

    @property
    def complete(self) -> bool:
        """The last member has ended."""
        return self._member.eof

    def pour(self, data: bytes) -> Iterator[bytes]:
        """See `Codec`. What follows a member must be another one."""
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(GZIP_BITS)
            yield from _inflate(self._member, data)
            data = self._member.unused_data


class Deflate:
    """deflate: in a zlib wrapper as RFC 9110, section 8.4.1.2 says, or raw as some servers send it."""

    def __init__(self) -> None:
        self._inflater: zlib._Decompress | None = None
        self._head = b""

    @property
    def complete(self) -> bool:
        """The stream has ended."""
        return self._inflater is not None and self._inflater.eof

    def pour(self, data: bytes) -> Iterator[bytes]:
        """See `Codec`."""
        if self._inflater is None:
            data = self._head = self._head + data
            if len(data) < 2:  # noqa: PLR2004  # the zlib header: RFC 1950, section 2.2
                return
            self._inflater = zlib.decompressobj(ZLIB_BITS if _is_zlib(data) else RAW_BITS)
        elif self._inflater.eof:
            raise zlib.error("bytes after the end")
        yield from _inflate(self._inflater, data)
        if self._inflater.unused_data:
            raise zlib.error("bytes after the end")


class Brotli:
    """br. Source: RFC 7932. The library refuses bytes after the end."""

    def __init__(self) -> None:
        self._stream: Final = brotli.Decompressor()

    @property
    def complete(self) -> bool:
        """The stream has ended."""
        return bool(self._stream.is_finished())

    def pour(self, data: bytes) -> Iterator[bytes]:
        """See `Codec`."""
        piece = self._stream.process(data, output_buffer_limit=STEP_BYTES)
        # The library may keep output although it says that it takes more input: only an empty piece is the end.
        while piece or not self._stream.can_accept_more_data():
            yield piece
            piece = self._stream.process(b"", output_buffer_limit=STEP_BYTES)


class Zstd:
    """zstd, also several frames in a row. Source: RFC 8878, section 3.1."""

    def __init__(self) -> None:
        self._library: Final = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
        self._frame = self._library.decompressobj()

    @property
    def complete(self) -> bool:
        """The last frame has ended."""
        return self._frame.eof

    def pour(self, data: bytes) -> Iterator[bytes]:
        """See `Codec`. What follows a frame must be another one."""
        for at in range(0, len(data), ZSTD_SLICE_BYTES):
            piece = data[at : at + ZSTD_SLICE_BYTES]
            while piece:
                if self._frame.eof:
                    self._frame = self._library.decompressobj()
                yield self._frame.decompress(piece)
                piece = self._frame.unused_data


CODECS: Final[Mapping[str, Callable[[], Codec]]] = {"gzip": Gzip, "deflate": Deflate, "br": Brotli, "zstd": Zstd}
"""In the order in which we ask for them."""


class Decoder:
    """A codec under ceilings.

    Raises:
        WithheldError: not this coding, cut short, followed by other bytes, more than 16 MiB out of one chunk, or more
            than 1000 times the input after the first MiB. The library's message is dropped.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec: Final = codec
        self._encoded_bytes = 0
        self._decoded_bytes = 0

    def feed(self, data: bytes) -> bytes:
        """All that `data` lets us decode now; may be empty."""
        self._encoded_bytes += len(data)
        pieces, before = [], self._decoded_bytes
        try:
            for piece in self._codec.pour(data):
                self._decoded_bytes += len(piece)
                self._check(self._decoded_bytes - before)
                pieces.append(piece)
        except (zlib.error, brotli.error, zstandard.ZstdError):
            raise WithheldError("the body is not what its content coding says") from None
        return b"".join(pieces)

    def finish(self) -> None:
        """The input is over. A body without a single byte counts as whole."""
        if self._encoded_bytes and not self._codec.complete:
            raise WithheldError("the encoded body was cut short")

    def _check(self, from_chunk_bytes: int) -> None:
        if from_chunk_bytes > MAX_BYTES_PER_CHUNK:
            raise WithheldError("one chunk decodes to too much")
        if self._decoded_bytes > max(FREE_BYTES, MAX_RATIO * self._encoded_bytes):
            raise WithheldError("the body decodes to too much")


def _inflate(stream: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """All output for `data`. A full piece may leave output inside zlib although the input is used up."""
    while True:
        piece = stream.decompress(data, STEP_BYTES)
        yield piece
        data = stream.unconsumed_tail
        if stream.eof or (not data and len(piece) < STEP_BYTES):
            return


def _is_zlib(data: bytes) -> bool:
    """Whether two bytes are a zlib header. Source: RFC 1950, section 2.2."""
    return data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2]) % 31 == 0
