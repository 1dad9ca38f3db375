"""Whether a token is bound to our key, and whom it is about, as far as the token itself says. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import orjson

from proxy.credentials.oauth.client import TLS_KEY
from proxy.credentials.oauth.dpop import KEY, confirmed
from proxy.keys.public import base64url, from_base64url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.keys.public import PublicKey

UNBOUND = "The authorization server issued a token that is not bound to the account's key."


def bound_by(sender: str, keys: Mapping[str, PublicKey]) -> tuple[str, str] | None:
    """The member of `cnf` that binds a token, and its value for our key; None where tokens are not bound."""
    if sender == "dpop":
        return "jkt", keys[KEY].thumbprint
    if sender == "tls" and keys[TLS_KEY].certificates:
        return "x5t#S256", base64url(hashlib.sha256(keys[TLS_KEY].certificates[0]).digest())
    return None


def binding_fault(sender: str, token: str, keys: Mapping[str, PublicKey]) -> str | None:
    """What is wrong with the binding of `token`, or None; a token that cannot be read is taken as it is.

    Source: RFC 9449, section 6.1; RFC 8705, section 3.1.
    """
    bound = bound_by(sender, keys)
    return None if bound is None or confirmed(token, bound[0]) in (None, bound[1]) else UNBOUND


def subject(token: bytes) -> bytes:
    """Whom `token` is about: issuer and subject of a JWT (RFC 7519, section 4.1), which change less often than it does.

    Of anything else, the token itself.
    """
    try:
        claims = orjson.loads(from_base64url(token.decode("ascii").split(".")[1]))
    except (ValueError, IndexError):
        return token
    about = (claims.get("iss"), claims.get("sub")) if isinstance(claims, dict) else (None, None)
    return orjson.dumps(about) if all(isinstance(one, str) for one in about) else token
