"""Which API actions a request asks for, in whichever of AWS's protocols: for actions that are never signed. Pure.

They stand in X-Amz-Target, in `Action` of a query or form, or in the path.
Everything is read as generously as any server might read it; a body that cannot be read so is refused.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote_plus

from proxy.aws.signing import S3_FAMILY
from proxy.canonical.fields import values_of
from proxy.errors import Denial, Refused

if TYPE_CHECKING:
    from collections.abc import Collection

    from proxy.model import RequestHead

MAX_INFLATED_BYTES: Final = 16 * 1024 * 1024
_CHARSET: Final = re.compile(r"""charset\s*=\s*["']?([^\s"';,]*)""", re.IGNORECASE)
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii", "iso-8859-1"})
_PLAIN: Final = frozenset({"", "identity", "amz-1.0"})
"""Codings that change nothing; the last is what some of AWS's SDKs call JSON."""
_GZIP: Final = 31
"""zlib's window bits for gzip."""


def refuses(entries: Collection[str], service: str, head: RequestHead, body: bytes | None) -> bool:
    """Whether one of `entries` is asked for.

    Args:
        entries: names of actions, also as they stand in a path (`AssumeRole`); or whole paths, in which `*` is one
            segment (`/clusters/*/assume-role-for-pod-identity`). `deadline:` before one limits it to this service.
        service: the signing name. Paths of S3 are keys: no names are looked for in them.
        head: the request.
        body: None where it streams, as S3's do: there is no action in it.

    Raises:
        Refused: `invalid_request`, the body cannot be read.
    """
    if not entries:
        return False
    path = [segment.casefold() for segment in head.segments]
    named = asked(head, body) | (frozenset() if service in S3_FAMILY else frozenset(path))
    for entry in entries:
        scope, _, wanted = entry.casefold().rpartition(":")
        if scope in ("", service.casefold()) and (_covers(wanted, path) if "/" in wanted else wanted in named):
            return True
    return False


def _covers(pattern: str, path: list[str]) -> bool:
    wanted = pattern.split("/")[1:]
    found = path[:-1] if path[-1:] == [""] else path
    return len(wanted) == len(found) and all(one in ("*", other) for one, other in zip(wanted, found, strict=True))


def asked(head: RequestHead, body: bytes | None) -> frozenset[str]:
    """The actions by name, case folded.

    Raises:
        Refused: the body cannot be read.
    """
    targets = [value.rpartition(".")[2].strip() for value in values_of(head.headers, "x-amz-target")]
    found = {*targets, *_in_form(head.query or "")}
    if body:
        found |= _in_form(_text(head, body))
    return frozenset(name.casefold() for name in found)


def _text(head: RequestHead, body: bytes) -> str:
    """The body without its coding, a character per byte."""
    codings = {value.strip().lower() for value in values_of(head.headers, "content-encoding")} - _PLAIN
    charsets = {c.lower() for value in values_of(head.headers, "content-type") for c in _CHARSET.findall(value)}
    if codings - {"gzip"} or not charsets <= _CHARSETS:
        detail = "A body in this coding or character set cannot be checked for its action."
        raise Refused(Denial("invalid_request", detail, by="credentials"))
    return (_inflated(body) if codings else body).decode("latin-1")


def _inflated(body: bytes) -> bytes:
    inflater = zlib.decompressobj(_GZIP)
    try:
        whole = inflater.decompress(body, MAX_INFLATED_BYTES)
    except zlib.error:
        raise Refused(Denial("invalid_request", "The body is not gzip, as it says.", by="credentials")) from None
    if not inflater.eof or inflater.unused_data:
        raise Refused(Denial("invalid_request", "The body is not one whole gzip member.", by="credentials"))
    return whole


def _in_form(text: str) -> set[str]:
    """The values of `Action` in a form or query, also where `;` separates its pairs."""
    if "action" not in unquote_plus(text).casefold():
        return set()
    pairs = (pair for part in re.split("[&;]", text) for pair in parse_qsl(part, keep_blank_values=True))
    return {value.strip() for name, value in pairs if name.strip().casefold() == "action"}
