"""A presentation exchanged for an access token: at a token endpoint, or by answering a verifier's request. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

import orjson

from proxy.credentials.kind import Call, CallFailedError, MintFailedError, call, filled, unusable
from proxy.credentials.oauth.reply import failed, read_reply
from proxy.credentials.vc import replies
from proxy.credentials.vc.dcql import answered
from proxy.credentials.vc.formats import demand_readable
from proxy.credentials.vc.jose import BadTokenError
from proxy.credentials.vc.request import answer_form, outer_parameters, signed_request, unsigned_request
from proxy.credentials.vc.transactions import claims_for, transactions_in
from proxy.credentials.vc.ways import nonce_in, random_nonce

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Minting
    from proxy.credentials.vc.held import Held
    from proxy.credentials.vc.request import Request, Verifier
    from proxy.credentials.vc.sdjwt import ClaimPath
    from proxy.credentials.vc.ways import ForVerifier, InTokenRequest
    from proxy.keys.public import PublicKey

FORM: Final = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
ASKS_AGAIN: Final = (400, 401)
NO_TOKEN: Final = "The token endpoint gave no token for the presentation."  # noqa: S105  # a sentence
NO_ANSWER: Final = "The verifier gave no token for the presentation."
NO_REQUEST: Final = "The verifier gave no request to answer."


@dataclass(frozen=True, slots=True)
class Presenting:
    """What is presented, by which key (None: not bound to one), and what of it may be shown."""

    held: Held
    key: PublicKey | None
    allowed: tuple[ClaimPath, ...]
    variables: Mapping[str, str]
    now_s: int


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, and when it is no longer used."""

    value: str = field(repr=False)
    expires_at_s: int


def by_token_request(way: InTokenRequest, what: Presenting) -> Minting[Token]:
    """The token for a presentation of everything that the profile allows.

    Raises:
        MintFailedError: `token_endpoint_error`.
        CallFailedError: an endpoint cannot be reached.
    """
    endpoint = filled(way.token_endpoint, what.variables)
    nonce = random_nonce()
    if way.nonce_endpoint is not None:
        reply = yield from call(Call("POST", filled(way.nonce_endpoint, what.variables), FORM))
        document = replies.good_object(reply, what.now_s, "The nonce endpoint gave no nonce.")
        name = "/c_nonce" if "c_nonce" in document else "/nonce"
        nonce = replies.token_at(document, name, "The nonce endpoint gave no nonce.")
    for attempt in (0, 1):
        presentation = yield from what.held.presented(
            what.held.permitted(what.allowed),
            what.key,
            audience=filled(way.audience, what.variables) if way.audience is not None else endpoint,
            nonce=nonce,
            now_s=what.now_s,
        )
        value = presentation if way.query_id is None else orjson.dumps({way.query_id: [presentation]}).decode()
        form = {name: filled(text, what.variables) for name, text in way.form.items()} | {way.parameter: value}
        reply = yield from call(Call("POST", endpoint, FORM, urlencode(form).encode()))
        wanted = nonce_in(reply.headers.items(), way.nonce_header) if reply.status in ASKS_AGAIN else None
        if attempt or wanted is None:
            break
        nonce = wanted
    told = read_reply(reply, what.now_s)
    if told.token_type not in ("", "bearer"):
        raise failed("The token endpoint gave a token of a type that is not supported.")
    return Token(told.access_token, replies.expires_at_s(told.expires_in_s, what.now_s, NO_TOKEN))


def by_verifier(way: ForVerifier, what: Presenting) -> Minting[Token]:
    """The token that the verifier gives for the least that satisfies its query.

    Raises:
        MintFailedError: `token_endpoint_error`, or `credential_unavailable` where its request must not be answered.
        CallFailedError: it cannot be reached.
    """
    start = filled(way.start, what.variables)
    reply = yield from call(Call("POST", start, FORM))
    url = replies.token_at(replies.good_object(reply, what.now_s, NO_REQUEST), way.request_pointer, NO_REQUEST)
    try:
        request = yield from requested(url, way.verifier, what.now_s)
        if not is_at(request.response_uri, {urlsplit(start).netloc, *way.response_hosts}):
            raise BadTokenError("the place for the answer is not the verifier's")
        form = answer_form(request, (yield from _vp_token(way, what, request)))
    except BadTokenError as bad:
        raise MintFailedError(unusable(f"The verifier's request is refused: {bad}.")) from None
    reply = yield from call(Call("POST", request.response_uri, FORM, urlencode(form).encode()))
    document = replies.good_object(reply, what.now_s, NO_ANSWER)
    token = replies.token_at(document, way.token_pointer, NO_ANSWER)
    return Token(token, replies.expires_at_s(document.get("expires_in"), what.now_s, NO_ANSWER))


def _vp_token(way: ForVerifier, what: Presenting, request: Request) -> Minting[dict[str, list[str]]]:
    """The presentations, by query id. Raises `BadTokenError`: the request must not be answered."""
    demand_readable(request.metadata, what.held, what.key)
    chosen = answered(request.query, what.held, what.allowed, bound=what.key is not None)
    transactions = transactions_in(request.transactions, way.transaction_types)
    if transactions and (what.held.sd is None or what.key is None):
        raise BadTokenError("a transaction is authorized only by an SD-JWT that is bound to our key")
    authorized = claims_for(transactions, chosen)
    vp_token = {}
    for query_id, digests in chosen.items():
        presentation = yield from what.held.presented(
            digests,
            what.key,
            audience=request.client_id,
            nonce=request.nonce,
            now_s=what.now_s,
            more=authorized.get(query_id),
        )
        vp_token[query_id] = [presentation]
    return vp_token


def is_at(url: str, hosts: set[str]) -> bool:
    """Whether `url` is an https URL at one of `hosts` (with their ports)."""
    try:
        return url.startswith("https://") and urlsplit(url).netloc in hosts
    except ValueError:
        return False


def requested(url: str, verifier: Verifier, now_s: int) -> Minting[Request]:
    """The verified request behind an `openid4vp://` URL.

    Raises:
        BadTokenError: it is not the profile's verifier who asks, or not in a way that is supported.
        CallFailedError: the request object cannot be had.
    """
    outer = outer_parameters(url)
    if outer.get("client_id") != verifier.client_id:
        raise BadTokenError("the verifier is not the one that the profile names")
    if "request" in outer:
        return signed_request(outer["request"], verifier, now_s)
    if "request_uri" not in outer:
        return unsigned_request(outer, verifier)
    method, nonce = outer.get("request_uri_method", "get").upper(), None
    accept = {"accept": "application/oauth-authz-req+jwt"}
    if method == "POST":
        nonce = random_nonce()
        asking = Call("POST", outer["request_uri"], {**FORM, **accept}, urlencode({"wallet_nonce": nonce}).encode())
    elif method == "GET":
        asking = Call("GET", outer["request_uri"], accept)
    else:
        raise BadTokenError("the verifier's request is to be fetched in a way that is not supported")
    reply = yield from call(asking)
    if reply.status != 200:  # noqa: PLR2004
        raise CallFailedError("the request object cannot be fetched")
    return signed_request(reply.body.decode("latin-1").strip(), verifier, now_s, wallet_nonce=nonce)
