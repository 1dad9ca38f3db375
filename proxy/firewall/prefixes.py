"""How much of a buffer's end must wait: the longest suffix that could still become an occurrence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ahocorasick_rs import BytesAhoCorasick

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD_BYTES: Final = 8
"""Beginnings of this length are searched for; shorter suffixes are looked up."""


class Prefixes:
    """The proper prefixes of a set of patterns."""

    def __init__(self, patterns: Sequence[bytes]) -> None:
        self._inner: Final = frozenset(byte for pattern in patterns for byte in pattern[:-1])
        self._longest: Final = max(map(len, patterns)) - 1
        self._short: Final = frozenset(p[:size] for p in patterns for size in range(1, min(len(p), HEAD_BYTES)))
        long = [pattern for pattern in patterns if len(pattern) > HEAD_BYTES]
        heads = dict.fromkeys(pattern[:HEAD_BYTES] for pattern in long)
        self._by_head: Final = [[memoryview(p) for p in long if p.startswith(head)] for head in heads]
        self._heads: Final = BytesAhoCorasick(list(heads)) if heads else None

    def held_from(self, buffer: bytes) -> int:
        """Where the longest suffix of `buffer` begins that is a proper prefix of a pattern; its length if none is."""
        if not buffer or buffer[-1] not in self._inner:
            return len(buffer)
        found = self._long(buffer)
        return self._brief(buffer) if found is None else found

    def _long(self, buffer: bytes) -> int | None:
        if self._heads is None:
            return None
        offset = max(0, len(buffer) - self._longest)
        tail = memoryview(buffer)[offset:]
        for head, at, _ in self._heads.find_matches_as_indexes(tail, overlapping=True):
            rest, size = tail[at:], len(tail) - at
            # Views compare without a copy and stop at the first difference.
            if any(len(pattern) > size and pattern[:size] == rest for pattern in self._by_head[head]):
                return offset + at
        return None

    def _brief(self, buffer: bytes) -> int:
        for size in range(min(HEAD_BYTES - 1, len(buffer)), 0, -1):
            if buffer[-size:] in self._short:
                return len(buffer) - size
        return len(buffer)
