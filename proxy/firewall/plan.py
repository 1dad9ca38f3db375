"""What happens to a response, decided from its head: withheld, or relayed with these headers through this filter."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from proxy.errors import Denial
from proxy.firewall.codings import codings_of
from proxy.firewall.decoders import CODECS, Decoder
from proxy.firewall.decoding import DecodingFilter
from proxy.firewall.envelopes import EnvelopeFilter, is_enveloped, message_coding
from proxy.firewall.headers import are_well_formed, scrub_headers, values_of
from proxy.firewall.scanner import Scanner
from proxy.firewall.upgrade import upgrade_fault

if TYPE_CHECKING:
    from proxy.exchange import ChunkFilter
    from proxy.firewall.vocabulary import Vocabulary
    from proxy.model import Headers, RequestHead, ResponseHead

BODYLESS: Final = frozenset({HTTPStatus.SWITCHING_PROTOCOLS, HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
MAX_STATUS: Final = 999
UNTRUE_AFTER_DECODING: Final = frozenset(
    {"content-encoding", "content-md5", "digest", "content-digest", "repr-digest", "accept-ranges"}
)
"""They speak of the encoded bytes. Source: RFC 9530, sections 2 and 3; RFC 9110, section 14.3."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Relay it.

    Attributes:
        headers: clean and ready to send; hop-by-hop fields and framing are the lane's.
        filter: for the body; None when there is none, or nothing to look for.
        hits: occurrences replaced in the headers.
    """

    headers: Headers
    filter: ChunkFilter | None
    hits: int


def plan(head: ResponseHead, request: RequestHead, vocabulary: Vocabulary) -> Denial | Planned:
    """What to do with a response to `request`, the head that was sent. A filter is fresh and for this body only."""
    fault = _head_fault(head) or _status_fault(head, request)
    if fault is not None:
        return _withheld(fault)
    headers = _one_length(head.headers)
    if not vocabulary or head.end_stream or request.method == "HEAD" or head.status in BODYLESS:
        clean, hits = scrub_headers(headers, vocabulary)
        return Planned(clean, None, hits)
    codings = codings_of(headers)
    fault = _coding_fault(head, codings)
    if fault is not None:
        return _withheld(fault)
    # The stand-in may be longer or shorter than what it replaces.
    unsized = tuple((name, value) for name, value in headers if name != "content-length")
    clean, hits = scrub_headers(_decoded(unsized) if codings else unsized, vocabulary)
    return Planned(clean, _filter(head, codings, vocabulary), hits)


def _withheld(detail: str) -> Denial:
    return Denial("response_withheld", detail, by="firewall")


def _head_fault(head: ResponseHead) -> str | None:
    """Whether the head can be read in one way only. Source: RFC 9112, sections 6.1 and 6.3."""
    if not are_well_formed(head.headers):
        return "The provider's headers are malformed."
    lengths = set(values_of(head.headers, "content-length"))
    if len(lengths) > 1 or not all(length.isascii() and length.isdigit() for length in lengths):
        return "The provider's answer has no clear length."
    transfer = [coding.lower() for coding in values_of(head.headers, "transfer-encoding")]
    if transfer not in ([], ["chunked"]) or (transfer and lengths):
        return "The provider's answer has no clear framing."
    return None


def _status_fault(head: ResponseHead, request: RequestHead) -> str | None:
    if head.status == HTTPStatus.SWITCHING_PROTOCOLS:
        return upgrade_fault(head.headers, request)
    if not HTTPStatus.OK <= head.status <= MAX_STATUS:
        return "The provider sent no final answer."
    if head.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return "The provider asks for the agent's proxy credentials."
    if head.status == HTTPStatus.PARTIAL_CONTENT and request.header("range") is None:
        return "The provider sent a part where the whole was asked for."
    return None


def _coding_fault(head: ResponseHead, codings: tuple[str, ...]) -> str | None:
    if len(codings) > 1 or not set(codings) <= set(CODECS):
        return "The provider's content coding cannot be read."
    if codings and head.status == HTTPStatus.PARTIAL_CONTENT:
        return "A part of an encoded answer cannot be read."
    return None


def _one_length(headers: Headers) -> Headers:
    """With a repeated, equal content-length given once. Source: RFC 9110, section 8.6."""
    lengths = values_of(headers, "content-length")
    if len(lengths) < 2:  # noqa: PLR2004
        return headers
    others = tuple((name, value) for name, value in headers if name != "content-length")
    return (*others, ("content-length", lengths[0]))


def _decoded(headers: Headers) -> Headers:
    """The headers of the same answer as identity: another representation, so a strong etag becomes a weak one."""
    kept = ((name, value) for name, value in headers if name not in UNTRUE_AFTER_DECODING)
    return tuple((n, f"W/{v}" if n == "etag" and not v.startswith("W/") else v) for n, v in kept)


def _filter(head: ResponseHead, codings: tuple[str, ...], vocabulary: Vocabulary) -> ChunkFilter:
    scanner: ChunkFilter
    if is_enveloped(head.headers):
        scanner = EnvelopeFilter(vocabulary, message_coding(head.headers))
    else:
        scanner = Scanner(vocabulary)
    return DecodingFilter(Decoder(CODECS[codings[0]]()), scanner) if codings else scanner
