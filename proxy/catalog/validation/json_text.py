"""JSON with one reading: what any two parsers would disagree about is refused (RFC 7493, C-12). Pure."""

from __future__ import annotations

import json
import re
from typing import Final, cast

import orjson

from proxy.catalog.validation.unclear import UnclearError

type Json = str | int | float | bool | list["Json"] | dict[str, "Json"] | None

MAX_DEPTH: Final = 64
MAX_KEYS: Final = 10_000
MAX_VALUES: Final = 100_000
MAX_INTEGER: Final = 2**53 - 1
"""Beyond it parsers that know only doubles read another number (RFC 7493, section 2.2)."""
_GAP: Final = re.compile(r"[ \t\n\r]*+")
_TEXTS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def read_json(text: bytes) -> Json:
    """The value of `text`.

    Raises:
        UnclearError: not JSON in UTF-8; a name twice in one object; a number that not all parsers read alike; too deep
            or too many values.
    """
    if _parts(text) > MAX_VALUES and _parts(_TEXTS.sub(b"", text)) > MAX_VALUES:
        raise UnclearError("The body has too many values.")
    try:
        orjson.loads(text)  # strict about syntax, encoding, surrogates, NaN and the order of marks
    except ValueError:
        raise UnclearError("The body is not JSON, or not in UTF-8.") from None
    try:
        value = cast("Json", json.loads(text, object_pairs_hook=_Pairs().object))
    except (ValueError, RecursionError):
        raise UnclearError("The body has a number or a depth that cannot be read.") from None
    _bound(value)
    return value


def entries_of(text: bytes) -> tuple[bytes, ...]:
    """The texts of the entries of an array that `read_json` has read, byte for byte (P8)."""
    whole, decoder, found = text.decode(), json.JSONDecoder(), []
    at = _after_gap(whole, whole.index("[") + 1)
    while whole[at] != "]":
        _, end = decoder.raw_decode(whole, at)
        found.append(whole[at:end].encode())
        at = _after_gap(whole, end)
        at = _after_gap(whole, at + 1) if whole[at] == "," else at
    return tuple(found)


def _after_gap(text: str, at: int) -> int:
    gap = _GAP.match(text, at)
    return at if gap is None else gap.end()


def _parts(text: bytes) -> int:
    """At least as many as there are values, found without making any of them (N-10)."""
    return sum(text.count(mark) for mark in (b",", b"[", b"{"))


class _Pairs:
    def __init__(self) -> None:
        self.keys = 0

    def object(self, pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        self.keys += len(pairs)
        found = dict(pairs)
        if len(found) != len(pairs):
            raise UnclearError("A name stands twice in one JSON object.")
        if self.keys > MAX_KEYS:
            raise UnclearError("The body has too many names.")
        return found


def _bound(value: Json) -> None:
    """Refuse what is too deep, too much, or a number beyond what everybody reads alike."""
    level, depth, seen = [value], 0, 0
    while level:
        depth += 1
        seen += len(level)
        if depth > MAX_DEPTH or seen > MAX_VALUES:
            raise UnclearError("The body is nested too deeply or has too many values.")
        below: list[Json] = []
        for one in level:
            if isinstance(one, dict):
                below += one.values()
            elif isinstance(one, list):
                below += one
            elif isinstance(one, int) and abs(one) > MAX_INTEGER:
                raise UnclearError("The body has a number that not everybody reads alike.")
        level = below


def member(value: dict[str, Json], name: str) -> Json:
    """What stands under `name`, or None.

    Some parsers (Go's) take a name in other capitals for the same one.

    Raises:
        UnclearError: there is one.
    """
    folded = name.casefold()
    if any(key != name and key.casefold() == folded for key in value):
        raise UnclearError("A name stands in the body in other capitals.")
    return value.get(name)
