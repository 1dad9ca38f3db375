"""The first head of a proxy's connection (RFC 9112, sections 3.2.2 and 3.2.3). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.canonical import parse_authority
from proxy.canonical.wire import HEAD
from proxy.errors import Denial
from proxy.model import RawHead

if TYPE_CHECKING:
    from proxy.model import Authority

HTTPS_ONLY_PORTS_REFUSED: Final = frozenset({53, 853, 5353})


@dataclass(frozen=True, slots=True)
class Connect:
    """`CONNECT host:port`."""

    authority: Authority
    proxy_authorization: str | None


@dataclass(frozen=True, slots=True)
class Plain:
    """An absolute-form request; the lane reads the head again, this only says who asks."""

    proxy_authorization: str | None


def first_head(head: bytes) -> Connect | Plain | Denial:
    """Judge the first head of a connection, terminated by an empty line."""
    found = HEAD.fullmatch(head)
    if found is None:
        return _malformed("The first line or a header is not valid HTTP/1.1.")
    method, target, block = found.groups()
    headers = [line.split(b":", 1) for line in block.split(b"\r\n") if line]
    named = {name.lower() for name, _ in headers}
    credentials = [value.strip(b" \t") for name, value in headers if name.lower() == b"proxy-authorization"]
    if len(credentials) > 1 or not all(map(bytes.isascii, credentials)):
        return _malformed("Proxy-Authorization must be one ASCII value.")
    credential = credentials[0].decode("ascii") if credentials else None
    if method != b"CONNECT":
        if not target.lower().startswith(b"http://"):
            return _malformed("This is a proxy: send CONNECT, or a request with an absolute http:// URL.")
        return Plain(credential)
    if named & {b"content-length", b"transfer-encoding"}:
        return _malformed("A CONNECT request has no body.")
    authority = parse_authority(target, None)
    if authority is None:
        return _malformed("The CONNECT target is not host:port.")
    if authority.port in HTTPS_ONLY_PORTS_REFUSED:
        return Denial("destination_not_allowed", "This port is not a web service's.", by="front")
    hosts = [value.strip(b" \t") for name, value in headers if name.lower() == b"host"]
    if any(parse_authority(host, authority.port) != authority for host in hosts):
        return Denial("authority_mismatch", "Host differs from the CONNECT target.", by="front")
    return Connect(authority, credential)


def raw_head(head: bytes) -> RawHead | None:
    """What a head says, for who asks; the lane reads it again. None when it is not HTTP/1."""
    found = HEAD.fullmatch(head)
    if found is None:
        return None
    method, target, block = found.groups()
    fields = [line.split(b":", 1) for line in block.split(b"\r\n") if line]
    headers = tuple((name, value.strip(b" \t")) for name, value in fields)
    return RawHead(method, target, b"", b"", headers, "HTTP/1.1", end_stream=True)


def _malformed(detail: str) -> Denial:
    return Denial("malformed_request", detail, by="front")
