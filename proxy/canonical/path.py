"""Paths that every parser reads the same way; anything else is refused (RFC 3986, sections 3.3 and 6.2.2)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from proxy.errors import Denial

if TYPE_CHECKING:
    from re import Match

MAX_SEGMENTS: Final = 512
_PLAIN: Final = re.compile(r"(?:/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*)+/?|/")
_CHARACTERS: Final = re.compile(r"/[A-Za-z0-9._~!$&'()*+,=:@/;\\%-]*")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL: Final = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff])")
_HIDDEN: Final = frozenset({"", ".", ".."})
"""What may not stand between slashes, nor between encoded ones: servers that decode them would fold them away."""
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def canonical_path(path: str, *, encoded_slash: bool) -> tuple[str, tuple[str, ...]] | Denial:
    """The path as it leaves and its decoded segments, or why it is refused.

    Escapes of unreserved characters are decoded and hexadecimal digits are upper case. With `encoded_slash`, `%2F` is
    data inside one segment.
    """
    if path.count("/") > MAX_SEGMENTS:
        return Denial("uri_too_long", "The path has too many segments.", by="canonical")
    if _PLAIN.fullmatch(path) and "/." not in path:
        return path, tuple(path[1:].split("/"))
    if not _CHARACTERS.fullmatch(path) or _BAD_ESCAPE.search(path):
        return Denial("malformed_request", "The path has characters that a URL may not have.", by="canonical")
    if _CONTROL.search(path):
        return Denial("malformed_request", "The path has encoded control characters.", by="canonical")
    if ";" in path or "\\" in path:
        return _ambiguous("The path has a `;` or a backslash.")
    normal = _ESCAPE.sub(_normal_escape, path)
    if "%5C" in normal or "%3B" in normal or ("%2F" in normal and not encoded_slash):
        return _ambiguous("The path has an encoded slash, backslash or semicolon.")
    return _segments(normal)


def _segments(normal: str) -> tuple[str, tuple[str, ...]] | Denial:
    segments: list[str] = []
    pieces = normal[1:].split("/")
    for index, piece in enumerate(pieces):
        try:
            value = unquote(piece, errors="strict") if "%" in piece else piece
        except UnicodeDecodeError:
            return Denial("malformed_request", "The path is not UTF-8.", by="canonical")
        if not value and index < len(pieces) - 1:
            return _ambiguous("The path has an empty segment.")
        if _ESCAPE.search(value) or (value and not _HIDDEN.isdisjoint(value.split("/"))):
            return _ambiguous("The path has a dot segment or is encoded twice.")
        segments.append(value)
    return normal, tuple(segments)


def _normal_escape(found: Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if character in _UNRESERVED else f"%{found[1].upper()}"


def _ambiguous(detail: str) -> Denial:
    return Denial("ambiguous_request", detail, by="canonical")
