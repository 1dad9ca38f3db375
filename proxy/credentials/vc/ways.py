"""Where a presentation goes: a header of the request itself, a token request, or a verifier that asked for it. Pure."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from proxy.credentials.kind import HeaderName  # noqa: TC001  # pydantic needs it at run time
from proxy.credentials.oauth.challenges import challenged
from proxy.credentials.vc.request import Verifier  # noqa: TC001
from proxy.documents import Strict

if TYPE_CHECKING:
    from collections.abc import Iterable

HttpsUrl = Annotated[str, Field(pattern=r"^https://[^\s#]{1,1024}$")]
Pointer = Annotated[str, Field(pattern=r"^(/[^/]*)+$")]
_PLAIN: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,512}")


def random_nonce() -> str:
    """128 random bits, for verifiers that give no nonce."""
    return secrets.token_urlsafe(16)


def nonce_in(headers: Iterable[tuple[str, str]], name: str | None) -> str | None:
    """The nonce of a challenge: the header `name`, else the parameter `nonce` of `WWW-Authenticate`."""
    wanted = (name or "www-authenticate").lower()
    said = ", ".join(value for key, value in headers if key == wanted)
    nonce = challenged(said, "nonce") if name is None else said
    return nonce if nonce is not None and _PLAIN.fullmatch(nonce) else None


class InHeader(Strict):
    """The presentation stands in a header of every request, made anew for each."""

    by: Literal["header"]
    header: HeaderName = "Authorization"
    template: str = Field(default="VP {presentation}", pattern=r"^[\x20-\x7e]*\{presentation\}[\x20-\x7e]*$")
    audience: str = Field(min_length=1, description="`aud` of the presentation, with {variable}.")
    nonce: Literal["challenge", "random"] = "challenge"
    nonce_header: HeaderName | None = Field(
        default=None, description="Where the provider's answers give a nonce; else WWW-Authenticate's `nonce`."
    )


class InTokenRequest(Strict):
    """The presentation is exchanged at a token endpoint for an access token."""

    by: Literal["token_request"]
    token_endpoint: HttpsUrl
    parameter: str = "vp_token"
    query_id: str | None = Field(
        default=None, description="The value is then JSON: this query id with the presentation."
    )
    form: dict[str, str] = Field(default={}, description="Further parameters, with {variable}.")
    audience: str | None = Field(default=None, description="`aud` of the presentation; else the token endpoint.")
    nonce_endpoint: HttpsUrl | None = Field(default=None, description="POST gives JSON with `c_nonce` or `nonce`.")
    nonce_header: HeaderName | None = Field(
        default=None, description="Where a refusal gives a nonce to try again with."
    )
    header: HeaderName = "Authorization"
    prefix: str = "Bearer "


class ForVerifier(Strict):
    """The presentation answers a verifier's request (OpenID4VP, direct_post), which answers with a token."""

    by: Literal["openid4vp"]
    start: HttpsUrl = Field(description="POST starts a request; its JSON answer holds an openid4vp:// URL.")
    request_pointer: Pointer = "/request"
    verifier: Verifier
    response_hosts: tuple[str, ...] = Field(default=(), description="Hosts of response_uri besides that of start.")
    transaction_types: tuple[str, ...] = Field(
        default=(), description="Types of `transaction_data` that are authorized with a presentation; none: refused."
    )
    token_pointer: Pointer = "/access_token"  # noqa: S105  # a JSON pointer
    header: HeaderName = "Authorization"
    prefix: str = "Bearer "


type Way = InHeader | InTokenRequest | ForVerifier
