"""`WWW-Authenticate`: what a server asks for, parsed. Pure.

Source: RFC 9110, sections 11.2, 11.3 and 11.6.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_CHALLENGE_BYTES: Final = 8192
_WORD: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_QUOTED: Final = r'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t\x20-\x7e\x80-\xff])*"'
_PARAMETER: Final = re.compile(rf"({_WORD})[ \t]*=[ \t]*({_WORD}|{_QUOTED})(?=[ \t]*(?:,|$))")
_SCHEME: Final = re.compile(rf"({_WORD})(?:[ \t]+|(?=,|$))")
_TOKEN68: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))")
_BETWEEN: Final = re.compile(r"[ \t,]*")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge; the scheme and the names of parameters are lower-case. Every value is what a server says."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def challenges(value: str | None) -> tuple[Challenge, ...]:
    """All challenges of one field value, as far as it is well-formed; what follows a mistake is not read.

    Where a parameter is repeated in a challenge, the first counts.
    """
    text, place = (value or "")[:MAX_CHALLENGE_BYTES], 0
    found: list[tuple[str, dict[str, str]]] = []
    while (place := _skipped(text, place)) < len(text):
        if found and (parameter := _PARAMETER.match(text, place)):
            found[-1][1].setdefault(parameter[1].lower(), _unquoted(parameter[2]))
            place = parameter.end()
            continue
        scheme = _SCHEME.match(text, place)
        if scheme is None:
            break
        found.append((scheme[1].lower(), {}))
        place = scheme.end()
        if not _PARAMETER.match(text, place) and (opaque := _TOKEN68.match(text, place)):
            place = opaque.end()
    return tuple(Challenge(scheme, parameters) for scheme, parameters in found)


def challenged(value: str | None, name: str, *schemes: str) -> str | None:
    """The parameter `name` of the first challenge of one of `schemes` (any, where none is given) that has it."""
    for challenge in challenges(value):
        if (not schemes or challenge.scheme in schemes) and name in challenge.parameters:
            return challenge.parameters[name]
    return None


def _skipped(text: str, place: int) -> int:
    blank = _BETWEEN.match(text, place)
    return blank.end() if blank else place


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL) if value.startswith('"') else value
