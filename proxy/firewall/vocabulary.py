"""What must not come back: the values of one agent's world, compiled once into an automaton."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn

from ahocorasick_rs import BytesAhoCorasick

from proxy.firewall.prefixes import Prefixes
from proxy.firewall.variants import variants

if TYPE_CHECKING:
    from collections.abc import Iterable

    type Match = tuple[int, int, int]
    """Index of the pattern, start, end."""


@dataclass(frozen=True, slots=True)
class Needle:
    """A value to look for, and the harmless one that takes its place. `repr` hides the value.

    Raises:
        ValueError: an empty value. The caller leaves out values under 8 bytes, as they would be found by chance.
    """

    value: bytes = field(repr=False)
    stand_in: bytes

    def __post_init__(self) -> None:
        if not self.value:
            raise ValueError("an empty value cannot be looked for")


class Vocabulary:
    """All variants of all needles. False when there is nothing to look for. Immutable; share it between requests."""

    def __init__(self, needles: Iterable[Needle]) -> None:
        table: dict[bytes, bytes] = {}
        for needle in needles:
            for pattern, replacement in variants(needle.value, needle.stand_in).items():
                table.setdefault(pattern, replacement)
        self._automaton: Final = _compile(table)
        self._names: Final = _compile(dict.fromkeys(pattern.lower() for pattern in table))
        self._prefixes: Final = Prefixes(tuple(table)) if table else None
        # A stand-in that itself holds a value would put it back: then nothing takes its place.
        self._replacements: Final = tuple(b"" if self.find(text) else text for text in table.values())

    def __bool__(self) -> bool:
        return self._automaton is not None

    def __repr__(self) -> str:
        return f"Vocabulary({len(self._replacements)} variants)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a vocabulary holds secrets and is not serialised")

    def find(self, buffer: bytes) -> list[Match]:
        """Every occurrence of every variant, overlapping ones too, in no promised order."""
        if self._automaton is None:
            return []
        return self._automaton.find_matches_as_indexes(buffer, overlapping=True)

    def in_name(self, name: str) -> bool:
        """Whether a header name, or several, holds a value in any letter case, because lanes and HTTP/2 change it."""
        if self._names is None:
            return False
        return bool(self._names.find_matches_as_indexes(name.lower().encode("latin-1", "replace")))

    def replacement(self, index: int) -> bytes:
        """What takes the place of the pattern `index` of `find`."""
        return self._replacements[index]

    def held_from(self, buffer: bytes) -> int:
        """Where the part of `buffer` begins that may not leave yet: a proper prefix of a variant."""
        return len(buffer) if self._prefixes is None else self._prefixes.held_from(buffer)


def _compile(table: dict[bytes, bytes] | dict[bytes, None]) -> BytesAhoCorasick | None:
    return BytesAhoCorasick(list(table)) if table else None
