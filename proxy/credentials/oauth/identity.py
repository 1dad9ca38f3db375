"""A person logs in at an OpenID provider and gets an ID token: what it is asked. Generators, no I/O.

    at      = yield from identity_places(issuer)
    asking  = login_kind(...); given = login_given(client)
    started = yield from start(asking, given, at, redirect_uri, Login(nonce=...))    (`authorize`)
    token   = yield from identified(asking, given, started, code)
or
    device  = yield from start_device(asking, given, at, Login(nonce=...))            (`device`)
    token   = yield from polled_identity(asking, given, at, device)   the token, `pending` or `slow_down`

Source: OpenID Connect Core 1.0, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from proxy.credentials.kind import Ingredients
from proxy.credentials.oauth.authorize import json_object, redemption, refusal
from proxy.credentials.oauth.client import Client
from proxy.credentials.oauth.connection import Connect
from proxy.credentials.oauth.device import device_question, still_pending
from proxy.credentials.oauth.kind import OAuthCredential
from proxy.credentials.oauth.metadata import authorization_server
from proxy.credentials.oauth.places import Places
from proxy.credentials.oauth.reply import TOKEN, TokenRefusedError, failed, read_reply
from proxy.credentials.oauth.request import ask
from proxy.model import AccountId

if TYPE_CHECKING:
    from proxy.credentials.kind import Minting, Reply
    from proxy.credentials.oauth.authorize import Started
    from proxy.credentials.oauth.device import Device

MAX_ID_TOKEN: Final = 8192
CLIENT: Final = AccountId("openid", "login")


@dataclass(frozen=True, slots=True)
class IdToken:
    """What was issued; whoever it is for has to verify it."""

    text: str = field(repr=False)


def login_kind(issuer: str, *, scope: str, redirect: str) -> OAuthCredential:
    """How a public client asks."""
    return OAuthCredential(
        kind="oauth",
        grant="authorization_code",
        issuer=issuer,
        client=Client(auth="none", id="{client_id}"),
        scope=scope,
        connect=Connect(redirect=redirect),
    )


def login_given(client_id: str, now_s: int) -> Ingredients:
    """There is no secret, and no account."""
    return Ingredients(CLIENT, {}, {"client_id": client_id}, now_s=now_s)


def identity_places(issuer: str) -> Minting[Places]:
    """Where the provider wants to be asked, at whatever hosts: whom it identifies is its word anyway.

    Raises:
        MintFailedError: it has no metadata that names exactly this issuer, or no token endpoint.
    """
    server = yield from authorization_server(issuer)
    pushed = server.pushed_authorization_request_endpoint if server.require_pushed_authorization_requests else None
    if server.token_endpoint is None:
        raise failed("The OpenID provider's metadata names no token endpoint.")
    return Places(
        token=server.token_endpoint,
        issuer=issuer,
        authorization=server.authorization_endpoint or "",
        device=server.device_authorization_endpoint or "",
        pushed=pushed or "",
        s256="S256" in (server.code_challenge_methods_supported or ()),
        names_itself=server.authorization_response_iss_parameter_supported,
        only_pushed=server.require_pushed_authorization_requests,
    )


def identified(kind: OAuthCredential, given: Ingredients, started: Started, code: str) -> Minting[IdToken]:
    """The ID token that `code` buys. Raises `MintFailedError`."""
    reply, _ = yield from ask(redemption(kind, given, started, code), given)
    try:
        return _id_token(reply, given.now_s)
    except TokenRefusedError as error:
        raise refusal(error) from None


def polled_identity(
    kind: OAuthCredential, given: Ingredients, at: Places, device: Device
) -> Minting[IdToken | Literal["pending", "slow_down"]]:
    """As `poll`, for the ID token. Raises `MintFailedError`."""
    reply, _ = yield from ask(device_question(kind, given, at, device), given)
    try:
        return _id_token(reply, given.now_s)
    except TokenRefusedError as error:
        return still_pending(error)


def _id_token(reply: Reply, now_s: int) -> IdToken:
    """Raises `TokenRefusedError`; `MintFailedError` where there is none."""
    read_reply(reply, now_s)
    token = json_object(reply).get("id_token")
    if not isinstance(token, str) or len(token) > MAX_ID_TOKEN or not TOKEN.fullmatch(token):
        raise failed("The OpenID provider gave no ID token.")
    return IdToken(token)
