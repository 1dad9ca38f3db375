"""Queries: read by name, changed by name, otherwise left as they came (RFC 3986, section 3.4)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote_plus

if TYPE_CHECKING:
    from collections.abc import Collection

# Browsers' URL parsers leave these unescaped although the RFC does not list them: [ ] { } | ^ `
WELL_FORMED: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]{}|^`-]|%(?!00)[0-9A-Fa-f]{2})*")


def query_pairs(query: str | None) -> tuple[tuple[str, str], ...]:
    """Decoded names and values, in order; `;` separates too, because some servers read it so."""
    if not query:
        return ()
    pairs = []
    for piece in re.split("[&;]", query):
        name, _, value = piece.partition("=")
        pairs.append((unquote_plus(name), unquote_plus(value)))
    return tuple(pairs)


def without_query(query: str | None, names: Collection[str]) -> str | None:
    """`query` without every parameter whose name, decoded and in lower case, is in `names`."""
    if not query or not names:
        return query
    kept = []
    for piece in query.split("&"):
        parts = [part for part in piece.split(";") if _name(part) not in names]
        if parts or not piece:
            kept.append(";".join(parts))
    return "&".join(kept) or None


def set_query(query: str | None, name: str, value: str | bytes) -> str:
    """`query` with exactly one parameter `name`, at the end; a `value` in bytes is escaped as it is."""
    rest = without_query(query, {name.lower()})
    ours = f"{quote(name, safe='')}={quote(value, safe='')}"
    return f"{rest}&{ours}" if rest else ours


def _name(part: str) -> str:
    return unquote_plus(part.partition("=")[0]).lower()
