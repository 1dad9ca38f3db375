"""Signed JWTs that are handed to an authorization server: client assertions and authorization grants (RFC 7523)."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.credentials import assertion
from proxy.credentials.kind import filled
from proxy.keys.public import base64url

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from pydantic import JsonValue

    from proxy.credentials.kind import Ingredients, Reply, Step


@dataclass(frozen=True, slots=True)
class Claims:
    """What an assertion says, besides `iat`, `exp` and a unique `jti`."""

    issuer: str
    subject: str
    audience: str
    lifetime_s: int
    extra: Mapping[str, JsonValue] = field(default_factory=dict)


def signed(
    claims: Claims, key: str, given: Ingredients, *, key_id: str | None = None
) -> Generator[Step, Reply | bytes, str]:
    """A compact JWS (RFC 7515) with the account's key `key`; a key with certificates is also named by `x5t#S256`."""
    public = given.keys[key]
    header: dict[str, str] = {}
    if key_id is not None:
        header["kid"] = filled(key_id, given.variables)
    if public.certificates:
        header["x5t#S256"] = base64url(hashlib.sha256(public.certificates[0]).digest())
    body: dict[str, JsonValue] = {
        **claims.extra,
        "iss": claims.issuer,
        "sub": claims.subject,
        "aud": claims.audience,
        "iat": given.now_s,
        "exp": given.now_s + claims.lifetime_s,
        "jti": secrets.token_urlsafe(24),
    }
    jwt = yield from assertion.signed(key, public, body, header)
    return jwt
