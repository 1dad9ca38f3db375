"""multipart/form-data with one reading: one strict grammar, everything else is refused (RFC 7578, C-18). Pure.

What parsers disagree about: text before the first or after the last delimiter, line ends other than CRLF, spaces behind
a delimiter, parameters given twice or as `name*`, escapes in names, nested parts, transfer encodings.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.catalog.validation.unclear import UnclearError

if TYPE_CHECKING:
    from proxy.catalog.validation.json_text import Json

MAX_PARTS: Final = 200
MAX_PART_HEAD_BYTES: Final = 2048
_TYPE: Final = re.compile(r'multipart/form-data; *boundary=(?:"([^"\\]+)"|([^";\s]+))', re.IGNORECASE)
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=?-]{1,70}")
_DISPOSITION: Final = re.compile(
    rb'content-disposition: ?form-data; ?name="([^"\\\r\n\0%]*)"(?:; ?filename="([^"\\\r\n\0%]*)")?', re.IGNORECASE
)
_CONTENT_TYPE: Final = re.compile(
    rb'content-type: ?([a-z0-9.+-]+/[a-z0-9.+*-]+)((?:; ?[a-z]+=[\w."-]+)*)', re.IGNORECASE
)


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type names. Raises `UnclearError` for anything else in it."""
    found = _TYPE.fullmatch(content_type)
    value = (found[1] or found[2]) if found is not None else ""
    if not _BOUNDARY.fullmatch(value):
        raise UnclearError("The Content-Type of a multipart body names one plain boundary and nothing else.")
    return value.encode()


def read_multipart(body: bytes, boundary: bytes) -> dict[str, Json]:
    """Names and their values, in a list where a name stands several times.

    A value is a text, or for a file `{"filename": …, "content_type": …, "bytes": its size}`.

    Raises:
        UnclearError: anything but the plain form.
    """
    delimiter = b"--" + boundary
    first, *pieces = (b"\r\n" + body).split(b"\r\n" + delimiter)
    if first or not pieces or pieces[-1] not in (b"--", b"--\r\n"):
        raise UnclearError("A multipart body begins and ends with its delimiter.")
    if body.count(delimiter) != len(pieces):
        raise UnclearError("The delimiter of a multipart body stands inside a part.")
    if len(pieces) > MAX_PARTS:
        raise UnclearError("The body has too many parts.")
    found: dict[str, list[Json]] = {}
    for piece in pieces[:-1]:
        name, value = _part(piece)
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _part(piece: bytes) -> tuple[str, Json]:
    head, end, content = piece.partition(b"\r\n\r\n")
    if not end or not head.startswith(b"\r\n") or len(head) > MAX_PART_HEAD_BYTES:
        raise UnclearError("A part has no plain head.")
    disposition, *others = head[2:].split(b"\r\n")
    named = _DISPOSITION.fullmatch(disposition)
    typed = _CONTENT_TYPE.fullmatch(others[0]) if others else None
    if named is None or len(others) > 1 or (others and typed is None):
        raise UnclearError("A part has Content-Disposition with a plain name, and perhaps Content-Type; nothing else.")
    name, kind = _text(named[1]), typed[1].decode().lower() if typed else "text/plain"
    if not name or name == "_charset_" or kind.startswith("multipart/"):
        raise UnclearError("A part has a name that changes the others, or parts of its own.")
    if named[2] is not None:
        return name, {"filename": _text(named[2]), "content_type": kind, "bytes": len(content)}
    if typed is not None and typed[2].lower().replace(b" ", b"") not in (b"", b";charset=utf-8"):
        raise UnclearError("A text in a part is in UTF-8.")
    return name, _text(content)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise UnclearError("A name or a text in a part is not in UTF-8.") from None
