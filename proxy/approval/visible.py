r"""Text of an agent as people may safely look at it: what cannot be seen, or looks like something else, is spelt out.

Whoever approves must see what is sent (J-03, J-04): control characters, ANSI escapes, bidirectional overrides,
zero-width and other invisible characters, unusual spaces, and letters that pass for Latin ones are shown as `\u{202e}`.
What was escaped is counted, so that a badge can say so. Pure.

Source: Unicode Technical Report 36; "Trojan Source", 2021.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final

_BLANKS: Final = frozenset("\n\t ")
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs", "Mn", "Me"})
"""General categories that show nothing of their own, or change what stands beside them."""
_LOOKALIKES: Final = ("ARMENIAN ", "CHEROKEE ", "COPTIC ", "CYRILLIC ", "GREEK ", "LISU ")
"""Scripts with letters that pass for Latin ones."""
_LATIN_END: Final = 0x24F
"""The last letter of Latin Extended-B; what comes later is phonetic, and looks like the plain letters."""
MAX_RUN: Final = 16
"""A longer run of blanks could push text out of sight."""


@dataclass(frozen=True, slots=True)
class Visible:
    """Text that shows everything it holds; `escaped` counts what was spelt out."""

    text: str
    escaped: int


def visible(text: str) -> Visible:
    """`text` with everything spelt out that would not be seen as what it is."""
    latin = any("a" <= char.lower() <= "z" for char in text)
    pieces: list[str] = []
    escaped = run = 0
    for index, char in enumerate(text):
        run = run + 1 if char in _BLANKS else 0
        forged = char == "\\" and text.startswith(("u{", "x"), index + 1)  # not one of ours
        if run <= MAX_RUN and not forged and _shows(char, latin=latin):
            pieces.append(char)
        else:
            pieces.append(f"\\u{{{ord(char):x}}}")
            escaped += 1
    return Visible("".join(pieces), escaped)


def visible_bytes(data: bytes) -> Visible:
    r"""Bytes as text where they are UTF-8, else each byte that is not printable ASCII as `\x00`."""
    try:
        return visible(data.decode("utf-8"))
    except UnicodeDecodeError:
        shown = [chr(byte) if " " <= chr(byte) <= "~" and byte != _BACKSLASH else f"\\x{byte:02x}" for byte in data]
        return Visible("".join(shown), sum(len(one) > 1 for one in shown))


_BACKSLASH: Final = ord("\\")


def _shows(char: str, *, latin: bool) -> bool:
    """Whether a character is seen as what it is; `latin`: among Latin letters."""
    if char in _BLANKS or " " <= char <= "~":
        return True
    if unicodedata.category(char) in _HIDDEN or unicodedata.normalize("NFKC", char)[:1].isascii():
        return False
    name = unicodedata.name(char, "")
    if name.startswith("LATIN "):
        return ord(char) <= _LATIN_END
    return not (latin and name.startswith(_LOOKALIKES))
