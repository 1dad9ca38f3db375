"""A request of the agent's: its signature taken off, ours put on. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote_plus, unquote_to_bytes

from proxy.aws import chunks, events, scope, signing

if TYPE_CHECKING:
    from proxy.aws.scope import Claim
    from proxy.aws.signing import Keys, Scope
    from proxy.exchange import BodyFilter
    from proxy.model import RequestHead

_SIGNATURE: Final = re.compile(r"Signature=([0-9a-f]+)")
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


def cleaned(head: RequestHead, claim: Claim) -> RequestHead:
    """Without the agent's signature, whatever its version; path and query encoded in the one way that AWS recomputes.

    Every byte outside `A-Za-z0-9-._~` is escaped (RFC 3986, section 2.3), in the query a `+` is a blank.
    """
    gone = scope.SIGNATURE_QUERY
    if claim.in_query and not claim.service:
        gone |= scope.OLD_SIGNATURE_QUERY
    pieces = [piece for piece in (head.query or "").split("&") if piece]
    kept = [_encoded(piece) for piece in pieces if unquote_plus(piece.partition("=")[0]).lower() not in gone]
    return replace(
        head,
        path="/" + "/".join(quote(segment, safe="") for segment in head.segments),
        query="&".join(kept) or None,
        headers=tuple(pair for pair in head.headers if pair[0] not in scope.SIGNATURE_HEADERS),
    )


def _encoded(piece: str) -> str:
    name, mark, value = piece.partition("=")
    return f"{_escaped(name)}{mark}{_escaped(value)}"


def _escaped(text: str) -> str:
    return quote(unquote_to_bytes(text.replace("+", " ")), safe="")


def signed(
    head: RequestHead, keys: Keys, wanted: Scope, claim: Claim, *, payload: str, at_s: float
) -> tuple[RequestHead, BodyFilter | None]:
    """A `cleaned` head with our signature where the agent's was, and what signs the pieces of its body.

    Raises:
        CannotSignError: the library is missing, or refuses the request.
    """
    authority = head.authority
    host = f"[{authority.host}]" if ":" in authority.host else authority.host
    if authority.port != _DEFAULT_PORTS[head.scheme]:
        host = f"{host}:{authority.port}"
    target = head.path if head.query is None else f"{head.path}?{head.query}"
    request = signing.Unsigned(head.method, host, target, head.headers)
    if claim.in_query:
        target = signing.sign_query(request, keys, wanted, payload=payload, at_s=at_s, expires_s=claim.expires_s)
        return replace(head, query=target.partition("?")[2]), None
    headers = signing.sign_headers(request, keys, wanted, payload=payload, at_s=at_s)
    return replace(head, headers=headers), _filter(headers, keys, wanted, payload, at_s)


def _filter(headers: signing.Fields, keys: Keys, wanted: Scope, payload: str, at_s: float) -> BodyFilter | None:
    found = _SIGNATURE.search(dict(headers)["authorization"])
    assert found is not None
    seed = found[1]
    if payload in chunks.SIGNED:
        trailer = payload.endswith("-TRAILER")
        return chunks.ChunkSigner(keys, wanted, stamp=signing.stamp(at_s), seed=seed, trailer=trailer)
    if payload == chunks.EVENTS:
        return events.EventSigner(keys, wanted, seed=seed)
    return None
