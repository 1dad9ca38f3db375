"""Queries and urlencoded forms with one reading (C-09, C-13). Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from proxy.catalog.validation.unclear import UnclearError

if TYPE_CHECKING:
    from proxy.catalog.validation.json_text import Json

MAX_PAIRS: Final = 1000
_PIECE: Final = re.compile(r"(?:[!-$'-:<-~]|%[0-9A-Fa-f]{2})*")
"""Printable ASCII without `&`, `;` and with whole escapes; `%` is checked by the second half."""
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def read_form(text: str) -> dict[str, Json]:
    """Names and their texts: one text, or a list where a name stands several times.

    Raises:
        UnclearError: `;`, an empty name or a piece without `=` (servers differ), a broken escape, other than UTF-8.

    Source: https://url.spec.whatwg.org/#urlencoded-parsing
    """
    found: dict[str, list[Json]] = {}
    pieces = text.split("&") if text else []
    if len(pieces) > MAX_PAIRS:
        raise UnclearError("Too many parameters.")
    for piece in pieces:
        if not _PIECE.fullmatch(piece) or _BROKEN_ESCAPE.search(piece):
            raise UnclearError("A parameter has characters or escapes that servers read differently.")
        name, equals, value = piece.partition("=")
        if not name or not equals:
            raise UnclearError("A parameter has no name or no value.")
        found.setdefault(_decoded(name), []).append(_decoded(value))
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _decoded(text: str) -> str:
    try:
        plain = unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeDecodeError:
        raise UnclearError("A parameter is not in UTF-8.") from None
    if "\0" in plain:
        raise UnclearError("A parameter holds a null character.")
    return plain
