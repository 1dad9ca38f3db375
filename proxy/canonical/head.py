"""A raw head becomes the canonical one, or a refusal. What is dropped or refused, and why: `docs/hygiene.md`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.canonical.fields import members_of, values_of
from proxy.canonical.host import parse_authority
from proxy.canonical.path import canonical_path
from proxy.canonical.query import WELL_FORMED
from proxy.canonical.upgrade import asks_for_websocket, offers_h2c
from proxy.errors import Denial
from proxy.model import Authority, RequestHead
from proxy.websocket.deflate import offer_of

if TYPE_CHECKING:
    from proxy.model import Headers, RawHead

METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
HOP_BY_HOP: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "te", "trailer",
        "transfer-encoding", "upgrade", "http2-settings",
    }
)  # fmt: skip
"""RFC 9110, section 7.6.1."""
OVERRIDES: Final = frozenset(
    {
        "forwarded", "via", "max-forwards", "x-http-method", "x-http-method-override", "x-method-override",
        "x-original-url", "x-original-uri", "x-original-host", "x-rewrite-url", "x-host", "x-real-ip", "client-ip",
        "true-client-ip",
    }
)  # fmt: skip
"""They make a server see another method, path or origin than the one that was decided on."""
SINGLE: Final = frozenset(
    {"content-type", "content-range", "range", "if-range", "origin", "referer", "expect", "sec-websocket-key",
     "sec-websocket-version"}
)  # fmt: skip
_FRAMING: Final = frozenset({"host", "content-length"})
_FRAMING_TWINS: Final = frozenset({"transfer_encoding", "content_length"})
_NAMES: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:\n[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
_BAD_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Ceilings of one head (P7)."""

    max_headers: int
    max_header_bytes: int
    max_uri_bytes: int


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of a head's destination beside the head. At most one is set; none: it is in absolute form.

    Attributes:
        connect: the authority of the CONNECT, or of a redirected TLS connection.
        base: scheme and authority that a base URL stands for; `Host` then names our own listener.
        port: that a redirected plain connection had dialled; `Host` names the destination.
    """

    connect: Authority | None = None
    base: tuple[str, Authority] | None = None
    port: int | None = None


ABSOLUTE: Final = Place()


def canonical_head(
    raw: RawHead, *, place: Place, sni: str | None, limits: HeadLimits, encoded_slash: bool
) -> RequestHead | Denial:
    """Judge `raw`.

    Args:
        raw: the head as the lane parsed it.
        place: what the connection says of the destination.
        sni: the server name of the ClientHello, when it had one.
        limits: ceilings.
        encoded_slash: whether `%2F` is data for this host.
    """
    refusal = _too_large(raw, limits) or _bad_method(raw.method)
    if refusal is not None:
        return refusal
    headers = _headers(raw)
    if isinstance(headers, Denial):
        return headers
    located = _locate(raw, headers, place, sni)
    if isinstance(located, Denial):
        return located
    scheme, authority, target = located
    framed = _framing(raw, headers)
    if isinstance(framed, Denial):
        return framed
    websocket = _websocket(raw, headers, place)
    if isinstance(websocket, Denial):
        return websocket
    before, mark, query = target.partition("?")
    path = canonical_path(before or "/", encoded_slash=encoded_slash)
    if isinstance(path, Denial):
        return path
    if mark and not WELL_FORMED.fullmatch(query):
        return _malformed("The query has characters that a URL may not have.")
    method = raw.method.decode("ascii")
    length = 0 if framed is None and raw.end_stream and method in WITH_BODY else framed
    return RequestHead(
        method=method,
        scheme=scheme,
        authority=authority,
        path=path[0],
        segments=path[1],
        query=query if mark else None,
        headers=_end_to_end(headers, websocket=websocket) + _te(raw, headers),
        has_body=not raw.end_stream,
        content_length=length,
        websocket=websocket,
    )


def _too_large(raw: RawHead, limits: HeadLimits) -> Denial | None:
    if len(raw.target) > limits.max_uri_bytes:
        return Denial("uri_too_long", "The URL is too long.", by="canonical")
    size = sum(len(name) + len(value) for name, value in raw.headers)
    if len(raw.headers) > limits.max_headers or size > limits.max_header_bytes:
        return Denial("header_too_large", "There are too many headers, or they are too long.", by="canonical")
    return None


def _bad_method(method: bytes) -> Denial | None:
    if method in METHODS:
        return None
    if not _TOKEN.fullmatch(method):
        return _malformed("The method is not a token.")
    return Denial("method_not_allowed", "This method is never carried.", by="canonical")


def _headers(raw: RawHead) -> list[tuple[str, str]] | Denial:
    """Lower-case names with trimmed values; names with `_` are dropped, because servers read them as `-`."""
    if raw.headers:
        names = b"\n".join([name for name, _ in raw.headers])
        if names.count(b"\n") >= len(raw.headers) or not _NAMES.fullmatch(names):
            return _malformed("A header name is not a token.")
        if _BAD_VALUE.search(b"".join([value for _, value in raw.headers])):
            return _malformed("A header value has control characters.")
    headers = []
    for raw_name, raw_value in raw.headers:
        name = raw_name.decode("ascii").lower()
        if "_" in name:
            if name in _FRAMING_TWINS:
                return _malformed("A header imitates a framing header.")
            continue
        headers.append((name, raw_value.decode("latin-1").strip(" \t")))
    given = [name for name, _ in headers]
    if len(set(given)) != len(given) and any(given.count(name) > 1 for name in SINGLE):
        return Denial("ambiguous_request", "A header that may stand once stands twice.", by="canonical")
    return headers


def _locate(
    raw: RawHead, headers: list[tuple[str, str]], place: Place, sni: str | None
) -> tuple[str, Authority, str] | Denial:
    """Scheme, authority and origin-form target; CONNECT, TLS server name and Host must agree."""
    try:
        target = raw.target.decode("ascii")
    except UnicodeDecodeError:
        return _malformed("The target is not ASCII.")
    hosts = _hosts(raw, headers)
    if isinstance(hosts, Denial):
        return hosts
    if place.base is not None or place.port is not None:
        return _origin_form(target, hosts, place)
    connect = place.connect
    scheme, authority = "https", connect
    if not target.startswith("/"):
        absolute = _absolute(target)
        if absolute is None or raw.http_version == "HTTP/2.0":
            return _malformed("The target is neither a path nor a URL of this proxy's.")
        scheme, named, target = absolute
        authority = connect or named
        if named != authority:
            return _mismatch()
    if (scheme == "http") != (connect is None) or authority is None:
        return _malformed("A target in absolute form is http outside a tunnel, https inside.")
    default = 443 if scheme == "https" else 80
    if any(parse_authority(host, default) != authority for host in hosts):
        return _mismatch()
    if sni is not None and sni.lower().removesuffix(".") != authority.host:
        return _mismatch()
    return scheme, authority, target


def _hosts(raw: RawHead, headers: list[tuple[str, str]]) -> list[bytes] | Denial:
    """What the head itself calls its destination: `:authority` and `Host`."""
    hosts = [value.encode("latin-1") for value in values_of(headers, "host")]
    if raw.http_version == "HTTP/2.0":
        return [raw.authority, *hosts] if raw.scheme == b"https" else _malformed("The scheme is not https.")
    if len(hosts) > 1 or (not hosts and raw.http_version != "HTTP/1.0"):
        return _malformed("There must be exactly one Host.")
    return hosts


def _origin_form(target: str, hosts: list[bytes], place: Place) -> tuple[str, Authority, str] | Denial:
    """A head on a plain connection that is not a proxy's: a path, and a destination that something else names."""
    if not target.startswith("/"):
        return _malformed("This listener takes a path, not a URL.")
    if place.base is not None:
        return *place.base, target
    named = parse_authority(hosts[0], 80) if hosts else None
    if named is None:
        return _malformed("Host does not name the destination.")
    return ("http", named, target) if named.port == place.port else _mismatch()


def _absolute(target: str) -> tuple[str, Authority, str] | None:
    scheme, mark, rest = target.partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in ("http", "https"):
        return None
    end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    authority = parse_authority(rest[:end].encode("ascii"), 443 if scheme == "https" else 80)
    return None if authority is None else (scheme, authority, rest[end:] or "/")


def _framing(raw: RawHead, headers: list[tuple[str, str]]) -> int | Denial | None:
    """The body's length when it is told (RFC 9112, section 6.3)."""
    lengths, codings = values_of(headers, "content-length"), values_of(headers, "transfer-encoding")
    if codings:
        if lengths:
            return Denial(
                "ambiguous_request", "Content-Length and Transfer-Encoding exclude each other.", by="canonical"
            )
        if raw.http_version != "HTTP/1.1" or len(codings) > 1 or codings[0].lower() != "chunked":
            return _malformed("The only transfer coding is one `chunked`, in HTTP/1.1.")
        return None
    if not lengths:
        return None
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        return _malformed("Content-Length is not one number.")
    length = int(lengths[0])
    if length and raw.end_stream:  # HTTP/2 ends a stream on its own; in HTTP/1 the next request would be the body
        return _malformed("Content-Length promises a body that does not follow.")
    return length


def _websocket(raw: RawHead, headers: list[tuple[str, str]], place: Place) -> bool | Denial:
    """Whether this is a WebSocket handshake. An offer of h2c is ignored outside TLS; every other upgrade is refused."""
    if not values_of(headers, "upgrade"):
        return False
    if place.connect is None and offers_h2c(raw, headers):
        return False
    return asks_for_websocket(raw, headers) or _malformed("The only upgrade is a well-formed one to websocket.")


def _end_to_end(headers: list[tuple[str, str]], *, websocket: bool) -> Headers:
    """Without hop-by-hop headers, those that Connection names, overrides and our own; cookies as one line."""
    drop = HOP_BY_HOP | OVERRIDES | _FRAMING | members_of(headers, "connection") | {"sec-websocket-extensions"}
    kept = [
        (name, value)
        for name, value in headers
        if name not in drop and not name.startswith(("x-forwarded-", "briefcased-", "proxy-"))
    ]
    cookies = [value for name, value in kept if name == "cookie"]
    if len(cookies) > 1:  # RFC 9113, section 8.2.3
        kept = [*(pair for pair in kept if pair[0] != "cookie"), ("cookie", "; ".join(cookies))]
    # Of extensions only compression is carried, whose messages the engine can read.
    offer = offer_of(values_of(headers, "sec-websocket-extensions"))
    if websocket and offer is not None:
        kept.append(("sec-websocket-extensions", offer))
    return tuple(kept)


def _te(raw: RawHead, headers: list[tuple[str, str]]) -> Headers:
    """`te: trailers`, the one member that HTTP/2 carries on, and that gRPC servers insist on (RFC 9113, 8.2.2)."""
    carried = raw.http_version == "HTTP/2.0" and "trailers" in members_of(headers, "te")
    return (("te", "trailers"),) if carried else ()


def _mismatch() -> Denial:
    return Denial("authority_mismatch", "CONNECT, TLS server name and Host differ.", by="canonical")


def _malformed(detail: str) -> Denial:
    return Denial("malformed_request", detail, by="canonical")
