"""Values in JSON texts that others wrote. Pure."""

from __future__ import annotations

import json
from typing import Final, NoReturn

from proxy.canonical.pointer import steps_of

type Json = str | int | float | bool | list[Json] | dict[str, Json] | None
LARGEST: Final = 2**53 - 1
_MISSING: Final = object()


def read(text: bytes) -> Json | None:
    """The document; None where it is not JSON, or can be read in two ways: a name that stands twice, NaN."""
    try:
        value: Json = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return value


def at(document: Json, pointer: str) -> object:
    """The value at `pointer` (RFC 6901, objects only); `MISSING` where there is none."""
    value: object = document
    for name in steps_of(pointer):
        if not isinstance(value, dict) or name not in value:
            return _MISSING
        value = value[name]
    return value


def is_missing(value: object) -> bool:
    """Whether `at` found nothing there, or null."""
    return value is _MISSING or value is None


def whole(value: object) -> int | None:
    """A whole number from 0 that is not huge (K-05); None for everything else, also for booleans and 1.0."""
    return value if type(value) is int and 0 <= value <= LARGEST else None


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refuse(_name: str) -> NoReturn:
    raise ValueError("not a JSON number")
