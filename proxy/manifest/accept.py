"""Which of two forms a client prefers: RFC 9110, section 12.5.1. Pure."""

from __future__ import annotations

from typing import Final

_DEFAULT: Final = 1.0


def wants_text(accept: str | None) -> bool:
    """Whether `accept` prefers plain text to JSON; a tie is JSON's."""
    return _quality(accept or "*/*", "text", "plain") > _quality(accept or "*/*", "application", "json")


def _quality(accept: str, kind: str, subtype: str) -> float:
    """The weight of the most specific range that covers the type; 0 where none does."""
    best, quality = 0, 0.0
    for member in accept.split(","):
        name, *parameters = (part.strip().lower() for part in member.split(";"))
        rank = {f"{kind}/{subtype}": 3, f"{kind}/*": 2, "*/*": 1}.get(name, 0)
        if rank > best:
            best, quality = rank, _weight(parameters)
    return quality


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return _DEFAULT
