"""`connect:` of the kind `oauth`: how a person connects an account. Data; `briefcased connect` alone reads it."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from proxy.documents import Strict

Endpoint = Annotated[str, Field(pattern=r"^https://[^\s?#]+(\?[^\s#]*)?$")]
LOOPBACK: Final = r"^http://(127\.0\.0\.1|\[::1\]|localhost)(:[1-9][0-9]{0,4})?/[A-Za-z0-9/_-]{0,64}$"
OURS: Final = frozenset(
    [
        "authorization_details",
        "client_assertion",
        "client_assertion_type",
        "client_id",
        "client_secret",
        "code_challenge",
        "code_challenge_method",
        "dpop_jkt",
        "redirect_uri",
        "request",
        "request_uri",
        "resource",
        "response_mode",
        "response_type",
        "scope",
        "state",
    ]
)
"""Parameters of the authorization request that we set ourselves."""


class Connect(Strict):
    """Endpoints may hold {variables}; each is the metadata's where it is not said here."""

    authorization_endpoint: Endpoint | None = None
    device_authorization_endpoint: Endpoint | None = None
    pushed_authorization_request_endpoint: Endpoint | None = None
    revocation_endpoint: Endpoint | None = None
    revocation: Literal["token", "named"] = Field(
        default="token",
        description="How a token is sent there: as RFC 7009 says, or one, under its own name (refresh_token).",
    )
    pkce: Literal["confirmed", "assumed"] = Field(
        default="confirmed", description="Whether metadata must say that S256 is supported; it is always sent."
    )
    pushed: Literal["offered", "required"] = Field(
        default="offered", description="Push the request where there is an endpoint for it, or refuse without one."
    )
    redirect: Annotated[str, Field(pattern=LOOPBACK)] = Field(
        default="http://127.0.0.1/callback", description="Loopback; a free port is picked where it names none."
    )
    parameters: dict[str, str] = Field(default={}, description="Further parameters of the authorization request.")

    @property
    def asked(self) -> tuple[str | None, ...]:
        """The endpoints that we ask ourselves, and show the client's secret or tokens to."""
        return (
            self.device_authorization_endpoint,
            self.pushed_authorization_request_endpoint,
            self.revocation_endpoint,
        )

    @model_validator(mode="after")
    def _none_of_ours(self) -> Self:
        if self.parameters.keys() & OURS:
            raise ValueError("parameters that briefcased sets itself are not among connect.parameters")
        return self
