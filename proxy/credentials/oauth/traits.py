"""The parts of the kind `oauth` that are data: how a provider refreshes, what an assertion says, what is exchanged."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, JsonValue, model_validator

from proxy.credentials.kind import SecretName  # noqa: TC001  # pydantic reads it
from proxy.credentials.oauth.client import Algorithm  # noqa: TC001  # pydantic reads it
from proxy.documents import Strict

ASSERTION_KEY: Final = "assertion"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  # the name of a type
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
MAX_ASSERTION_S: Final = 3600
Seconds = Annotated[int, Field(ge=0, le=3600)]


class Refresh(Strict):
    """`refresh:`: what is known about how this provider refreshes."""

    rotates: bool = Field(default=True, description="A refresh may replace the refresh token; it is journalled.")
    single_use: bool = Field(default=False, description="Without a new refresh token in the reply there is none left.")
    reuse_leeway_s: Seconds = Field(default=0, description="How long a replaced refresh token is taken once more.")
    margin_s: Seconds = Field(default=60, description="How long before its end an access token is refreshed.")
    jitter_s: Seconds = Field(default=10, description="Up to so much earlier, at random.")
    revoked_by: tuple[str, ...] = Field(
        default=("invalid_grant",), description="Error codes after which only connecting again helps."
    )


class Assertion(Strict):
    """`assertion:` of the grant `jwt_bearer` (RFC 7523, section 3): one we sign, or a secret that holds one."""

    secret: SecretName | None = Field(default=None, description="A ready assertion, instead of signing one.")
    issuer: str = Field(default="{client_id}", description="`iss`; may hold {variables}.")
    subject: str = Field(default="{client_id}", description="`sub`; may hold {variables}.")
    audience: str | None = Field(default=None, description="`aud`; the issuer or token endpoint, unless it is said.")
    lifetime_s: Annotated[int, Field(ge=10, le=MAX_ASSERTION_S)] = 300
    claims: dict[str, JsonValue] = Field(default={}, description="Further claims, as they are.")
    algorithm: Algorithm = Field(default="RS256", description="Of a key that has to be made, slot `assertion`.")
    key_id: str | None = Field(default=None, description="`kid`; may hold {variables}.")

    @model_validator(mode="after")
    def _no_reserved(self) -> Self:
        if self.claims.keys() & {"iss", "sub", "aud", "exp", "iat", "jti"}:
            raise ValueError("claims may not repeat iss, sub, aud, exp, iat or jti")
        return self


class Exchange(Strict):
    """`exchange:` of the grant `token_exchange` (RFC 8693, section 2.1)."""

    subject_token: SecretName
    subject_token_type: str = ACCESS_TOKEN
    actor_token: SecretName | None = None
    actor_token_type: str | None = None
    requested_token_type: str | None = None

    @model_validator(mode="after")
    def _actor(self) -> Self:
        if (self.actor_token is None) != (self.actor_token_type is None):
            raise ValueError("actor_token and actor_token_type come together")
        return self


Grant = Literal[
    "client_credentials", "refresh_token", "authorization_code", "device_code", "jwt_bearer", "token_exchange"
]
REFRESHED: Final = frozenset({"refresh_token", "authorization_code", "device_code"})
"""Grants that live from a refresh token."""
