"""Header fields on their way back: what is dropped, what is malformed, what is replaced."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.firewall.scanner import scrub

if TYPE_CHECKING:
    from proxy.firewall.vocabulary import Vocabulary
    from proxy.model import Headers

DROPPED: Final = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "alt-svc"})
"""Hop by hop (RFC 9110, section 7.6.1), and `alt-svc`, which would lead the client around the proxy (RFC 7838)."""
DROPPED_PREFIXES: Final = ("proxy-", "briefcased-")
"""`proxy-status` and `briefcased-receipt` are ours to say; `proxy-authenticate` would ask for the agent's token."""
FIELD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\0[\t\x20-\x7e\x80-\xff]*\n"
"""A token, and latin-1 without control characters; NUL and newline stand between, as neither may hold them.

Source: RFC 9110, sections 5.5 and 5.6.2.
"""
FIELDS: Final = re.compile(f"(?:{FIELD})*")


def are_well_formed(headers: Headers) -> bool:
    """Whether these fields may be sent at all."""
    return FIELDS.fullmatch(_lines(headers)) is not None


def _lines(headers: Headers) -> str:
    return "".join([f"{name}\0{value}\n" for name, value in headers])


def end_to_end(headers: Headers) -> Headers:
    """Without hop-by-hop fields, those that `connection` names, and those that only this proxy may say."""
    gone = DROPPED.union(map(str.lower, values_of(headers, "connection")))
    return tuple([field for field in headers if not _is_gone(field[0].lower(), gone)])


def _is_gone(name: str, gone: frozenset[str]) -> bool:
    return name in gone or name.startswith(DROPPED_PREFIXES)


def values_of(headers: Headers, name: str) -> list[str]:
    """All values of the field `name`, list members apart and stripped, in order."""
    return [part.strip() for key, value in headers if key == name for part in value.split(",")]


def scrub_headers(headers: Headers, vocabulary: Vocabulary) -> tuple[Headers, int]:
    """Headers or trailers that may reach the agent, and how many occurrences were replaced.

    A field whose name holds a value is dropped, as is one that is hop by hop or malformed, before or after.
    """
    kept = end_to_end(headers)
    if are_well_formed(kept) and not _is_touched(kept, vocabulary):
        return kept, 0
    clean: list[tuple[str, str]] = []
    hits = 0
    for name, value in kept:
        if vocabulary.in_name(name):
            hits += 1
        elif are_well_formed(((name, value),)):
            replaced, found = scrub(value.encode("latin-1"), vocabulary)
            hits += found
            clean.append((name, replaced.decode("latin-1")))
    return tuple(field for field in clean if are_well_formed((field,))), hits


def _is_touched(headers: Headers, vocabulary: Vocabulary) -> bool:
    """Whether anything in well-formed headers may be an occurrence: two searches for all, as most have none."""
    if not vocabulary:
        return False
    names = "\n".join([name for name, _ in headers])
    return bool(vocabulary.find(_lines(headers).encode("latin-1"))) or vocabulary.in_name(names)
