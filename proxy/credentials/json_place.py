"""Where in a JSON text one value stands, so that it can be replaced and nothing else is touched. Pure."""

from __future__ import annotations

import json
from typing import Final, NamedTuple, NoReturn

from proxy.canonical.pointer import steps_of

WHITE: Final = " \t\r\n"


class Place(NamedTuple):
    """A value and the slice of the text that it is written in."""

    start: int
    end: int
    value: object


def place_of(text: str, pointer: str) -> Place | None:
    """The place of `pointer` (RFC 6901) in the JSON document `text`.

    None where there is none, where `text` is not JSON (RFC 8259), and where a name on the way stands twice in its
    object: which of the two another reader takes is unknown. Nothing is looked up inside lists.
    """
    steps = tuple(steps_of(pointer))
    try:
        json.loads(text, parse_constant=_refuse)
        return _find(text, _skip(text, 0), steps)
    except (ValueError, RecursionError):
        return None


def _refuse(_name: str) -> NoReturn:
    raise ValueError("not a JSON number")


def _find(text: str, at: int, steps: tuple[str, ...]) -> Place | None:
    """The place of `steps` below the value that begins at `at`. The text is known to be valid."""
    if not steps:
        value, end = DECODER.raw_decode(text, at)
        return Place(at, end, value)
    if text[at] != "{":
        return None
    found: list[Place | None] = []
    at = _skip(text, at + 1)
    while text[at] != "}":
        name, at = DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        if name == steps[0]:
            found.append(_find(text, at, steps[1:]))
        _, at = DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found[0] if len(found) == 1 else None


def _skip(text: str, at: int) -> int:
    """The first place from `at` on that is not white space."""
    while text[at : at + 1] and text[at] in WHITE:
        at += 1
    return at


DECODER: Final = json.JSONDecoder()
