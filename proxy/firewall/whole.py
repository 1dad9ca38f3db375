"""An answer that was held whole: its body, decoded within a bound, and the headers that are still true of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.firewall.codings import codings_of
from proxy.firewall.decoders import CODECS, Decoder
from proxy.firewall.plan import UNTRUE_AFTER_DECODING
from proxy.firewall.withheld import WithheldError

if TYPE_CHECKING:
    from proxy.model import Headers

NOT_OF_A_WHOLE: Final = UNTRUE_AFTER_DECODING | {
    "content-length",
    "etag",
    "last-modified",
    "set-cookie",
    "cache-control",
}
"""A cookie of such an answer is the login's own; nobody may keep the answer."""


def decoded(headers: Headers, body: bytes, max_bytes: int) -> bytes:
    """`body` without its content coding.

    Raises:
        WithheldError: a coding that we do not have, more than one, or a body that is broken, cut or too large.
    """
    codings = codings_of(headers)
    if len(codings) > 1 or not set(codings) <= set(CODECS):
        raise WithheldError("the content coding cannot be read")
    if codings:
        decoder = Decoder(CODECS[codings[0]]())
        body = decoder.feed(body)
        decoder.finish()
    if len(body) > max_bytes:
        raise WithheldError("the body is too large")
    return body


def headers_of_whole(headers: Headers) -> Headers:
    """Those that may go with another body, before they are scrubbed."""
    kept = tuple(field for field in headers if field[0] not in NOT_OF_A_WHOLE)
    return (*kept, ("cache-control", "no-store"))
