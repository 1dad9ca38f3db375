"""The streaming scanner: replaces every occurrence, wherever chunks are cut, and delays nothing else.

Its output and its hits do not depend on how the text was cut into chunks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.firewall.variants import FILLER
from proxy.firewall.withheld import WithheldError

if TYPE_CHECKING:
    from proxy.exchange import ChunkFilter
    from proxy.firewall.vocabulary import Match, Vocabulary

MIN_CUT_BYTES: Final = 8
"""A shorter beginning of a value tells nothing; vendors' prefixes are public."""


class Cluster(NamedTuple):
    """Occurrences that overlap; `variant` is the longest of those that start first, None once it was replaced."""

    variant: int | None
    start: int
    end: int


def clusters(found: list[Match], covered: int) -> list[Cluster]:
    """Overlapping occurrences joined, in order: no byte of any occurrence may leave.

    `covered` bytes at the beginning belong to a cluster whose replacement has left already.
    """
    joined: list[Cluster] = [Cluster(None, 0, covered)] if covered else []
    for index, start, end in sorted(found, key=lambda match: (match[1], -match[2])):
        if joined and start < joined[-1].end:
            last = joined[-1]
            joined[-1] = last._replace(end=max(last.end, end))
        else:
            joined.append(Cluster(index, start, end))
    return joined


class Scanner:
    """A `ChunkFilter` over decoded bytes. Holds less than the longest variant in memory."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary: Final = vocabulary
        self._tail = b""
        self._covered = 0
        self._hits = 0
        self._ended = False

    @property
    def hits(self) -> int:
        """How many occurrences were replaced so far; overlapping ones count once."""
        return self._hits

    def feed(self, data: bytes) -> bytes:
        """What may leave now; b"" ends the text and gives the rest.

        Raises:
            WithheldError: bytes after the end, because what had been held back has left by then.
        """
        if not data:
            self._ended = True
            return self._release(self._tail, len(self._tail))
        if self._ended:
            raise WithheldError("the text went on after its end")
        buffer = self._tail + data if self._tail else data
        return self._release(buffer, self._vocabulary.held_from(buffer))

    def _release(self, buffer: bytes, hold: int) -> bytes:
        found = self._vocabulary.find(buffer)
        if not found and not self._covered:
            self._tail = buffer[hold:]
            return buffer[:hold]
        return self._replace(buffer, hold, clusters(found, self._covered))

    def _replace(self, buffer: bytes, hold: int, joined: list[Cluster]) -> bytes:
        """A cluster that starts before `hold` is final in its start and its longest occurrence; its end may grow."""
        out: list[bytes] = []
        at = self._covered
        for variant, start, end in joined:
            if start >= hold:
                break
            out += (buffer[at:start], self._instead(variant, end - max(start, at)))
            self._hits += variant is not None
            at = end
        out.append(buffer[at:hold])
        self._tail, self._covered = buffer[hold:], max(0, at - hold)
        return b"".join(out)

    def _instead(self, variant: int | None, length: int) -> bytes:  # noqa: ARG002
        """What leaves for `length` bytes of a cluster; nothing for those by which it grew."""
        return b"" if variant is None else self._vocabulary.replacement(variant)


class FittedScanner(Scanner):
    """A scanner whose output is as long as its input, for texts that tell their length beforehand."""

    def _instead(self, variant: int | None, length: int) -> bytes:
        return super()._instead(variant, length)[:length].ljust(length, FILLER)

    def end(self) -> bytes:
        """The rest of a part of a longer text. What may be a cut occurrence is blotted out, not given."""
        rest = self.feed(b"")
        if len(rest) < MIN_CUT_BYTES:
            return rest
        self._hits += 1
        return FILLER * len(rest)


class PassThrough:
    """A `ChunkFilter` where there is nothing to look for."""

    hits: Final = 0

    def feed(self, data: bytes) -> bytes:
        """The data as it is."""
        return data


def open_scanner(vocabulary: Vocabulary) -> ChunkFilter:
    """A fresh scanner for one body or one message."""
    return Scanner(vocabulary) if vocabulary else PassThrough()


def scrub(data: bytes, vocabulary: Vocabulary) -> tuple[bytes, int]:
    """A whole text without any occurrence, and how many there were."""
    scanner = Scanner(vocabulary)
    return scanner.feed(data) + scanner.feed(b""), scanner.hits
