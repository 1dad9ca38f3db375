"""What a capability token says of itself: until when, how often, for what, and by whose key it may be used. Pure.

Sources: RFC 7519 (`exp`, `nbf`, `jti`, `aud`); RFC 8693, section 4.2 (`scope`); RFC 9449, section 6.1 (`cnf.jkt`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.credentials.vc.jose import BadTokenError, parse, seconds, valid_at, verify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.vc.trust import Keys


@dataclass(frozen=True, slots=True)
class Demands:
    """What the profile wants of a token.

    Attributes:
        scope: everything that must be granted.
        audience: what `aud` must be or hold; None for whatever it is.
        thumbprint: of the key that it must be bound to; None where it must not be bound to any.
        keys: of which one must have signed it; None leaves that to the provider.
        claim: names of the claims that hold scope and number of calls.
    """

    now_s: int
    scope: frozenset[str]
    audience: str | None
    thumbprint: str | None
    keys: Keys | None
    claim: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Caveats:
    """Within which a token is used. `max_calls` None is without limit."""

    id: str
    expires_at_s: int
    max_calls: int | None
    scope: frozenset[str]


def caveats_of(token: str, demands: Demands) -> Caveats:
    """The caveats of a token that fits `demands`.

    Raises:
        BadTokenError: it does not, or says too little: `jti` and `exp` have to be there.
    """
    found = parse(token, None)
    if demands.keys is not None:
        verify(found, demands.keys)
    expires_s, id_ = valid_at(found.claims, demands.now_s), found.says("jti")
    if expires_s is None or id_ is None or not 0 < len(id_) <= 256:  # noqa: PLR2004
        raise BadTokenError("it has no end (exp) or no name (jti)")
    scope = _words(found.claims.get(demands.claim.get("scope", "scope")))
    if not demands.scope <= scope:
        raise BadTokenError("it is for less than the profile asks for")
    audience = found.claims.get("aud")
    if demands.audience is not None and demands.audience not in (
        audience if isinstance(audience, list) else [audience]
    ):
        raise BadTokenError("it is for another audience")
    if _bound_to(found.claims) != demands.thumbprint:
        raise BadTokenError("it is bound to another key than it is presented with")
    return Caveats(id_, expires_s, _calls(found.claims, demands.claim.get("max_calls", "max_calls")), scope)


def _words(scope: object) -> frozenset[str]:
    if isinstance(scope, str):
        return frozenset(scope.split())
    return frozenset(word for word in scope if isinstance(word, str)) if isinstance(scope, list) else frozenset()


def _bound_to(claims: Mapping[str, object]) -> str | None:
    match claims.get("cnf"):
        case None:
            return None
        case {"jkt": str(thumbprint)}:
            return thumbprint
    raise BadTokenError("it is bound in a way that is not supported")


def _calls(claims: Mapping[str, object], name: str) -> int | None:
    calls = seconds(claims, name)  # a number like a time: whole, not negative, not huge
    if calls == 0:
        raise BadTokenError("it allows no call")
    return calls
