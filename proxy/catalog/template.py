"""Path templates: `/repos/{owner}/{repo}/contents/**`. Whole segments only. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

REST: Final = "**"
_NAME: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_LITERAL: Final = re.compile(r"[A-Za-z0-9._~!$&'()+,=:@%-]*")


def parse_template(template: str) -> tuple[str, ...]:
    """The pieces of a template: literals as they are decoded, `{name}` as it stands, `**` last.

    Raises:
        ValueError: with the reason.
    """
    if not template.startswith("/"):
        raise ValueError("a path template starts with /")
    pieces = template[1:].split("/")
    names = [found[1] for piece in pieces if (found := _NAME.fullmatch(piece))]
    if len(set(names)) != len(names):
        raise ValueError("a name stands twice in the path template")
    for index, piece in enumerate(pieces):
        if piece == REST:
            if index != len(pieces) - 1:
                raise ValueError("** may only be the last segment")
        elif not _NAME.fullmatch(piece):
            if not _LITERAL.fullmatch(piece):
                raise ValueError("a segment is a literal, {name}, or ** at the end")
            if not piece and index != len(pieces) - 1:
                raise ValueError("a path template has no empty segment")
    return tuple(unquote(piece) if "%" in piece else piece for piece in pieces)


def name_of(piece: str) -> str | None:
    """The name in `{name}`, or None for a literal."""
    found = _NAME.fullmatch(piece)
    return None if found is None else found[1]
