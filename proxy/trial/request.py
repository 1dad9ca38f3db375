"""A request as an agent would send it, from a method and a URL, in the canonical form that is decided on. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urlsplit

from proxy.canonical import ABSOLUTE, Place, canonical_head, parse_authority
from proxy.errors import Denial
from proxy.model import HTTPS_PORT, RawHead

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.decision import Generation
    from proxy.model import RequestHead


def head_of(
    generation: Generation, method: str, url: str, headers: Iterable[tuple[str, str]] = (), body: bytes | None = None
) -> RequestHead | Denial:
    """The head of `METHOD URL`, or how the sidecar refuses it; an https URL as it comes out of its tunnel.

    What is given counts as it is, `Host` and framing too; what is missing is added, as every client does.
    """
    try:
        target = urldefrag(url).url  # no client sends the fragment
        named = urlsplit(target).netloc.encode("latin-1")
        given = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    except ValueError:  # brackets without an address, or characters that no client can send
        return Denial("malformed_request", "The URL or a header cannot be sent.", by="canonical")
    if all(name.lower() != b"host" for name, _ in given):
        given.insert(0, (b"host", named))
    if body is not None and all(name.lower() not in (b"content-length", b"transfer-encoding") for name, _ in given):
        given.append((b"content-length", str(len(body)).encode()))
    authority = parse_authority(named, HTTPS_PORT) if target.lower().startswith("https://") else None
    slashes = authority is not None and generation.catalog.allows_encoded_slash(authority.host, authority.port)
    raw = RawHead(
        method=method.encode("latin-1", "replace"),
        target=target.encode("utf-8"),
        authority=b"",
        scheme=b"",
        headers=tuple(given),
        http_version="HTTP/1.1",
        end_stream=not body,
    )
    place = ABSOLUTE if authority is None else Place(connect=authority)
    return canonical_head(raw, place=place, sni=None, limits=generation.head_limits, encoded_slash=slashes)
