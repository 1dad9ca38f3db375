"""The authorization code grant for a person at a browser: request, answer, redemption. Generators, no I/O.

    started = yield from start(kind, given, at, redirect_uri)     the browser opens `started.url`
    code    = read_answer(query, started)                         what came to the redirect URI
    credential = yield from redeem(kind, given, started, code)

Sources: RFC 6749, section 4.1; RFC 7636; RFC 8252; RFC 8707; RFC 9126; RFC 9207; RFC 9396; RFC 9449, section 10.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

import orjson

from proxy.credentials.kind import filled
from proxy.credentials.oauth.dpop import KEY as DPOP_KEY
from proxy.credentials.oauth.introspection import introspected
from proxy.credentials.oauth.kind import ADVICE
from proxy.credentials.oauth.login import ANY_LOGIN
from proxy.credentials.oauth.reply import TokenRefusedError, error_code, failed, read_reply, refused
from proxy.credentials.oauth.request import Question, ask, encoded
from proxy.keys.public import base64url

if TYPE_CHECKING:
    from pydantic import JsonValue

    from proxy.credentials.kind import Credential, Ingredients, MintFailedError, Minting, Reply
    from proxy.credentials.oauth.kind import OAuthCredential
    from proxy.credentials.oauth.login import Login
    from proxy.credentials.oauth.places import Places
    from proxy.credentials.oauth.request import Fields

VERIFIER_BYTES: Final = 48
"""64 characters; RFC 7636, section 4.1 wants 43 to 128."""
STATE_BYTES: Final = 32
MAX_ANSWER_CHARACTERS: Final = 8192
MAX_REQUEST_URI_CHARACTERS: Final = 2048
PUSHED: Final = 201
SAID_NO: Final = {
    "access_denied": "The person, or the provider, said no.",
    "invalid_scope": "The provider does not grant this scope.",
    "invalid_target": "The provider does not know this resource.",
    "invalid_authorization_details": "The provider does not take these authorization details.",
    "unauthorized_client": "The provider does not let this client connect accounts.",
    "server_error": "The provider had a fault.",
    "temporarily_unavailable": "The provider is busy.",
}
"""What an error code means, in our words; others are not repeated."""


class NotOursError(Exception):
    """What came is not the answer that is waited for: whoever sent it changes nothing."""


@dataclass(frozen=True, slots=True)
class Started:
    """What is waited for. One use."""

    url: str = field(repr=False)
    redirect_uri: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)
    at: Places


def start(
    kind: OAuthCredential, given: Ingredients, at: Places, redirect_uri: str, login: Login = ANY_LOGIN
) -> Minting[Started]:
    """A fresh request, pushed where the server offers that.

    Raises:
        MintFailedError: PKCE with S256 is not known to be supported, an endpoint is missing, or the push failed.
    """
    if not at.authorization:
        raise failed("The provider has no authorization endpoint.")
    if not at.s256:
        raise refused("The authorization server does not say that it supports PKCE with S256.")
    state, verifier = secrets.token_urlsafe(STATE_BYTES), secrets.token_urlsafe(VERIFIER_BYTES)
    fields: dict[str, JsonValue] = {
        **{name: filled(value, given.variables) for name, value in kind.connect.parameters.items()},
        "response_type": "code",
        "client_id": client_id(kind, given),
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": challenge(verifier),
        "code_challenge_method": "S256",
        **asked(kind, given),
        **login.fields,
    }
    if kind.sender == "dpop":
        fields["dpop_jkt"] = given.keys[DPOP_KEY].thumbprint
    if at.pushed:
        fields = yield from _push(kind, given, at, fields)
    elif at.only_pushed:
        raise failed("The provider wants pushed requests and has no endpoint for them.")
    _, query = encoded(fields, "form")
    mark = "&" if "?" in at.authorization else "?"
    return Started(f"{at.authorization}{mark}{query.decode()}", redirect_uri, state, verifier, at)


def asked(kind: OAuthCredential, given: Ingredients) -> dict[str, JsonValue]:
    """What the account is to be allowed: scope, resources, audience, authorization details."""
    fields: dict[str, JsonValue] = {}
    if kind.scope:
        fields["scope"] = filled(kind.scope, given.variables)
    if kind.resource:
        fields["resource"] = [filled(one, given.variables) for one in kind.resource]
    if kind.audience is not None:
        fields["audience"] = filled(kind.audience, given.variables)
    if kind.authorization_details:
        fields["authorization_details"] = [dict(one) for one in kind.authorization_details]
    return fields


def client_id(kind: OAuthCredential, given: Ingredients) -> str:
    """The account's client."""
    return filled(kind.client.id, given.variables)


def challenge(verifier: str) -> str:
    """S256 (RFC 7636, section 4.2)."""
    return base64url(hashlib.sha256(verifier.encode("ascii")).digest())


def _push(kind: OAuthCredential, given: Ingredients, at: Places, fields: Fields) -> Minting[dict[str, JsonValue]]:
    """Push the request; what is left for the browser (RFC 9126, section 2.1 and 4)."""
    reply, _ = yield from ask(question(kind, given, at, at.pushed, fields), given)
    document = json_object(reply)
    uri = document.get("request_uri")
    if reply.status not in (PUSHED, 200) or not _is_request_uri(uri):
        raise failed(SAID_NO.get(error_code(document) or "", "The provider did not take the pushed request."))
    return {"client_id": fields["client_id"], "request_uri": uri}


def _is_request_uri(uri: JsonValue) -> bool:
    return isinstance(uri, str) and 0 < len(uri) <= MAX_REQUEST_URI_CHARACTERS and uri.isascii() and uri.isprintable()


def read_answer(query: str, started: Started) -> str:
    """The code in the query that came to the redirect URI.

    `state` says whether this is our answer at all, then `iss` whether it is from the server that was asked; nothing
    else of it is looked at before (RFC 9207, section 2.4).

    Raises:
        NotOursError: another state, none, or no query of an answer; keep waiting.
        MintFailedError: it is over: another issuer, a no, or an answer without a code.
    """
    answer = _parameters(query)
    if not hmac.compare_digest(answer.get("state", "").encode(), started.state.encode()):
        raise NotOursError
    issuer = answer.get("iss")
    if issuer is None and started.at.names_itself:
        raise refused("The answer does not say which authorization server it is from, although this one always does.")
    if issuer is not None and started.at.issuer and issuer != started.at.issuer:
        raise refused("The answer is from another authorization server than was asked.")
    if "error" in answer:
        raise failed(SAID_NO.get(answer["error"], "The provider refused to connect the account."))
    code = answer.get("code", "")
    if not code or not code.isprintable():
        raise failed("The provider's answer has no code.")
    return code


def _parameters(query: str) -> dict[str, str]:
    """Each at most once (RFC 6749, section 3.1). Raises `NotOursError`."""
    if len(query) > MAX_ANSWER_CHARACTERS:
        raise NotOursError
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=32)
    except ValueError:
        raise NotOursError from None
    if len(pairs) != len(dict(pairs)):
        raise NotOursError
    return dict(pairs)


def redeem(kind: OAuthCredential, given: Ingredients, started: Started, code: str) -> Minting[Credential]:
    """The credential for a code, checked as every mint checks one; `Credential.keep` is what has to be stored.

    Raises:
        MintFailedError: the server refused, or gave something else than was asked for.
    """
    asking = redemption(kind, given, started, code)
    reply, nonce = yield from ask(asking, given)
    try:
        token = read_reply(reply, given.now_s)
    except TokenRefusedError as error:
        raise refusal(error) from None
    credential = kind.connected(given, token, nonce)
    yield from introspected(kind, asking, token.access_token, given)
    return credential


def redemption(kind: OAuthCredential, given: Ingredients, started: Started, code: str) -> Question:
    """What the token endpoint is asked for a code."""
    fields: dict[str, JsonValue] = {
        **{name: filled(value, given.variables) for name, value in kind.parameters.items()},
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": started.redirect_uri,
        "code_verifier": started.verifier,
    }
    if kind.resource:
        fields["resource"] = [filled(one, given.variables) for one in kind.resource]
    return question(kind, given, started.at, started.at.token, fields)


def refusal(error: TokenRefusedError) -> MintFailedError:
    """What an error code means, in our words."""
    return failed(ADVICE.get(error.code, error.denial.detail), retry_after_s=error.retry_after_s)


def question(kind: OAuthCredential, given: Ingredients, at: Places, url: str, fields: Fields) -> Question:
    """One question to an endpoint of the server, with the client's authentication."""
    return Question(
        url=url,
        fields=fields,
        client=kind.client,
        client_id=client_id(kind, given),
        audience=filled(kind.client.audience or at.audience, given.variables),
        format=kind.format if url == at.token else "form",
        headers={name: filled(value, given.variables) for name, value in kind.headers.items()},
        certificate=kind.certificate,
        proves=kind.sender == "dpop" and url == at.token,
    )


def json_object(reply: Reply) -> dict[str, JsonValue]:
    """The reply's object; an empty one where it has none."""
    try:
        document = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}
