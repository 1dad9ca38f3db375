"""A body filter that decodes before it scans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.firewall.withheld import WithheldError

if TYPE_CHECKING:
    from proxy.exchange import ChunkFilter
    from proxy.firewall.decoders import Decoder


class DecodingFilter:
    """A `ChunkFilter` over an encoded body: what comes out is plain. After a fault it gives out nothing more."""

    def __init__(self, decoder: Decoder, scanner: ChunkFilter) -> None:
        self._decoder: Final = decoder
        self._scanner: Final = scanner
        self._fault: str | None = None

    @property
    def hits(self) -> int:
        """How many occurrences were replaced so far."""
        return self._scanner.hits

    def feed(self, data: bytes) -> bytes:
        """See `ChunkFilter`. Raises `WithheldError` for what cannot be decoded, and on every call after that."""
        if self._fault is not None:
            raise WithheldError(self._fault)
        try:
            return self._feed(data)
        except WithheldError as error:
            self._fault = str(error)
            raise

    def _feed(self, data: bytes) -> bytes:
        if not data:
            self._decoder.finish()
            return self._scanner.feed(b"")
        plain = self._decoder.feed(data)
        # An empty piece would end the scan.
        return self._scanner.feed(plain) if plain else b""
