"""The ways in which text is escaped on its way back: percent (URLs, forms) and JSON.

An escape is a function from bytes to bytes. Those of `PARTIAL` leave letters and digits alone, so they also apply to
text that is already encoded (base64); those of `TOTAL` escape every byte.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    type Escape = Callable[[bytes], bytes]

ALPHANUMERIC: Final = string.ascii_letters + string.digits
ASCII: Final = bytes(range(128)).decode()
SHORT: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
"""Two-character escapes of JSON that writers prefer. Source: RFC 8259, section 7."""
PRINTABLE: Final = bytes(range(0x20, 0x80)).decode()


def percent(kept: str, *, upper: bool, space: str | None = None) -> Escape:
    """Every byte outside `kept` as `%XX`; `space`, when given, stands for a blank (forms: `+`).

    Source: RFC 3986, section 2.1; WHATWG URL, application/x-www-form-urlencoded.
    """
    form = "%%%02X" if upper else "%%%02x"
    table = {byte: form % byte for byte in range(256) if chr(byte) not in kept}
    if space is not None:
        table[ord(" ")] = space

    def escape(value: bytes) -> bytes:
        return value.decode("latin-1").translate(table).encode()

    return escape


def json_text(kept: str, *, upper: bool, slash: bool = False, ascii_only: bool = True) -> Escape:
    r"""The inside of a JSON string: characters outside `kept` as `\u` and four hex digits; `slash` writes `\/`.

    Bytes that are not UTF-8 count as latin-1, the way header values are read.

    Source: RFC 8259, section 7.
    """
    form = "\\u%04X" if upper else "\\u%04x"
    table = {ord(c): _escaped(c, kept, form) for c in ASCII}
    if slash:
        table[ord("/")] = "\\/"

    def escape(value: bytes) -> bytes:
        text = _text(value).translate(table)
        if ascii_only and not text.isascii():
            text = "".join(c if c.isascii() else _units(c, form) for c in text)
        return text.encode()

    return escape


def _escaped(char: str, kept: str, form: str) -> str:
    if char not in kept:
        return form % ord(char)
    return SHORT.get(char) or (char if char in PRINTABLE else form % ord(char))


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _units(char: str, form: str) -> str:
    """A character as its UTF-16 units, which is what JSON escapes."""
    raw = char.encode("utf-16-be")
    return "".join(form % int.from_bytes(raw[at : at + 2]) for at in range(0, len(raw), 2))


def _without(characters: str) -> str:
    return "".join(c for c in ASCII if c not in characters)


URL_KEPT: Final = (
    ALPHANUMERIC,  # careful writers: everything that is not a letter or digit
    ALPHANUMERIC + "-._~",  # RFC 3986 unreserved: most libraries
    ALPHANUMERIC + "-._~/",  # a path: Python's quote()
    ALPHANUMERIC + "-_.!~*'()",  # ECMAScript encodeURIComponent
    ALPHANUMERIC + "-_.!~*'();,/?:@&=+$#",  # ECMAScript encodeURI
    "".join(c for c in PRINTABLE if c not in "%\x7f"),  # gRPC's `grpc-message`
)
FORM_KEPT: Final = (ALPHANUMERIC + "*-._", ALPHANUMERIC + "-._~")  # WHATWG, and Python's quote_plus()
JSON_KEPT: Final = (
    ASCII,  # only what JSON demands
    _without("<>&"),  # Go
    _without("\"'&+<>`"),  # .NET
    _without("<>&'\""),  # PHP's JSON_HEX_* options
    ALPHANUMERIC,
)

BOTH: Final = (True, False)
PARTIAL: Final[tuple[Escape, ...]] = (
    *(percent(kept, upper=upper) for kept in URL_KEPT for upper in BOTH),
    *(percent(kept, upper=upper, space="+") for kept in FORM_KEPT for upper in BOTH),
    *(json_text(kept, upper=upper, slash=slash) for kept in JSON_KEPT for upper in BOTH for slash in BOTH),
    *(json_text(ASCII, upper=False, slash=slash, ascii_only=False) for slash in BOTH),
)
TOTAL: Final[tuple[Escape, ...]] = (
    *(percent("", upper=upper) for upper in BOTH),
    *(json_text("", upper=upper) for upper in BOTH),
)
