"""Cedar text cut into its statements, each with the line it starts on. Pure.

cedarpy names policies by their number and its errors carry no line, so every statement is parsed alone.
Source: https://docs.cedarpolicy.com/policies/syntax-grammar.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN: Final = re.compile(r'//[^\n]*|"(?:[^"\\]|\\.)*"?|;|[^/";]+|/', re.DOTALL)

_END: Final = ";"


@dataclass(frozen=True, slots=True)
class Statement:
    """One policy as it was written.

    Attributes:
        line: of its first annotation or word, from 1.
    """

    file: str
    line: int
    text: str


def statements(file: str, text: str) -> Iterator[Statement]:
    """Every statement of `text`; what follows the last semicolon is one too, unless it is blank or a comment."""
    pieces: list[str] = []
    line, start = 1, 0
    for token in _TOKEN.findall(text):
        comment = token.startswith("//")
        if not start and not comment and token.strip():
            start = line + token[: len(token) - len(token.lstrip())].count("\n")
        if not comment:
            pieces.append(token)
        line += token.count("\n")
        if token == _END:
            yield Statement(file, start, "".join(pieces).strip())
            pieces, start = [], 0
    if start:
        yield Statement(file, start, "".join(pieces).strip())
