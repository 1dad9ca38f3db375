"""A request head as it arrives by each kind of entrance, in the one form that decides and leaves (P8). Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.canonical import ABSOLUTE, Place, canonical_head
from proxy.catalog.base_url import relocated, resolve
from proxy.errors import Denial
from proxy.exchange import Capture

if TYPE_CHECKING:
    from proxy.catalog.matcher import Catalog
    from proxy.decision import Generation
    from proxy.exchange import Exchange
    from proxy.model import Authority, Headers, RawHead, RequestHead

DRAINING: Final = Denial("draining", "The proxy is shutting down.", by="pipeline", retry_after_s=5)


def canonical(generation: Generation, exchange: Exchange, raw: RawHead, sni: str | None) -> RequestHead | Denial:
    """The head in the one form that decides and leaves (P8)."""
    tunnel, slashes = exchange.tunnel, generation.catalog.allows_encoded_slash
    place, authority = ABSOLUTE, tunnel.authority
    if tunnel.authority is not None:
        place = Place(connect=tunnel.authority)
    elif tunnel.capture is Capture.TRANSPARENT:
        place = Place(port=tunnel.port)
    elif tunnel.capture is Capture.BASE_URL:
        based = resolve(generation.catalog, raw.target)
        if isinstance(based, Denial):
            return based
        exchange.base, authority = based.base, based.authority
        place, raw = Place(base=(based.scheme, based.authority)), replace(raw, target=based.target)
    encoded_slash = authority is not None and slashes(authority.host, authority.port)
    return canonical_head(raw, place=place, sni=sni, limits=generation.head_limits, encoded_slash=encoded_slash)


def relocate(catalog: Catalog, base: str, authority: Authority, headers: Headers) -> Headers:
    """`headers` with every location of `authority` below the base URL's first segment `base`."""
    return tuple(
        (n, relocated(catalog, v, base=base, authority=authority) if n in ("location", "content-location") else v)
        for n, v in headers
    )
