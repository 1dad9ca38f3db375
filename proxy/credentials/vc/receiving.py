"""Receive a credential from an issuer: OpenID for Verifiable Credential Issuance 1.0, pre-authorized code. Pure.

A generator does one round and returns `Received`, or `Deferred` where the issuer asks to come again later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

import orjson

from proxy.credentials.kind import Call, CallFailedError, MintFailedError, call, unusable
from proxy.credentials.oauth.metadata import authorization_server, is_endpoint, is_issuer
from proxy.credentials.oauth.reply import failed, read_reply, retry_after_s
from proxy.credentials.vc import replies
from proxy.credentials.vc.exchanges import FORM
from proxy.credentials.vc.held import HOLDER, Demands, RevokedError, checked, read
from proxy.credentials.vc.jose import BadTokenError, json_object, signed
from proxy.credentials.vc.offer import PRE_AUTHORIZED
from proxy.keys.public import REQUIRED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Ingredients, Minting, Reply
    from proxy.credentials.vc.kind import VcCredential
    from proxy.credentials.vc.offer import Offer
    from proxy.keys.public import PublicKey

WELL_KNOWN: Final = "/.well-known/openid-credential-issuer"
JSON: Final = {"content-type": "application/json", "accept": "application/json"}
ACCEPTED: Final = 202
BAD_REQUEST: Final = 400
INTERVAL_S: Final = 5
MAX_INTERVAL_S: Final = 3600
FORMATS: Final = {"dc+sd-jwt": ("dc+sd-jwt", "vc+sd-jwt"), "vc+jwt": ("jwt_vc_json", "vc+jwt")}
NO_CREDENTIAL: Final = "The issuer gave no credential."


@dataclass(frozen=True, slots=True)
class IssuerPlaces:
    """Where the issuer's endpoints are; None where it has none of the kind."""

    issuer: str
    servers: tuple[str, ...]
    credential: str
    nonce: str | None
    deferred: str | None
    notification: str | None
    configurations: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Session:
    """An access token of the issuer's authorization server, and what it is for."""

    places: IssuerPlaces
    configuration: str
    identifier: str | None
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Deferred:
    """Come again for `transaction` in `interval_s` seconds."""

    session: Session
    transaction: str
    interval_s: int


@dataclass(frozen=True, slots=True)
class Received:
    """A verified credential. `types`: those that the profile names; `expires_at_s` None: it does not say."""

    text: str = field(repr=False)
    issuer: str
    types: tuple[str, ...]
    expires_at_s: int | None


def issuer_places(issuer: str) -> Minting[IssuerPlaces]:
    """The issuer's own metadata (section 12.2). Raises `MintFailedError`."""
    if not is_issuer(issuer):
        raise MintFailedError(unusable("The offer's issuer is not an https URL."))
    detail = "The issuer has no metadata that names exactly this issuer."
    parts = urlsplit(issuer)
    reply = yield from call(
        Call("GET", f"https://{parts.netloc}{WELL_KNOWN}{parts.path.rstrip('/')}", {"accept": "application/json"})
    )
    told = replies.good_object(reply, 0, detail)
    servers, configurations = (
        told.get("authorization_servers", [issuer]),
        told.get("credential_configurations_supported"),
    )
    if told.get("credential_issuer") != issuer or not isinstance(configurations, dict) or not isinstance(servers, list):
        raise failed(detail)
    found: dict[str, str | None] = {}
    for name in ("credential_endpoint", "nonce_endpoint", "deferred_credential_endpoint", "notification_endpoint"):
        url = told.get(name)
        if url is not None and not (isinstance(url, str) and is_endpoint(url)):
            raise failed("The issuer names an endpoint that is not an https URL.")
        found[name] = url
    if found["credential_endpoint"] is None:
        raise failed(detail)
    return IssuerPlaces(
        issuer=issuer,
        servers=tuple(server for server in servers if isinstance(server, str)),
        credential=found["credential_endpoint"],
        nonce=found["nonce_endpoint"],
        deferred=found["deferred_credential_endpoint"],
        notification=found["notification_endpoint"],
        configurations=configurations,
    )


def opened_session(
    kind: VcCredential, offer: Offer, given: Ingredients, *, client_id: str | None, tx_code: str | None
) -> Minting[Session]:
    """Exchange the offer's pre-authorized code for an access token (section 6). Raises `MintFailedError`."""
    if offer.issuer not in {issuer.issuer for issuer in kind.issuers}:
        raise MintFailedError(unusable("The offer is by an issuer that the profile does not name."))
    places = yield from issuer_places(offer.issuer)
    configuration = _configuration(kind, offer, places)
    server = offer.server if offer.server is not None else places.servers[0] if places.servers else ""
    if server not in places.servers:
        raise MintFailedError(unusable("The offer names an authorization server that is not the issuer's."))
    about = yield from authorization_server(server)
    if about.token_endpoint is None:
        raise failed("The issuer's authorization server has no token endpoint.")
    form = {"grant_type": PRE_AUTHORIZED, "pre-authorized_code": offer.code}
    form |= {} if tx_code is None else {"tx_code": tx_code}
    form |= {} if client_id is None else {"client_id": client_id}
    reply = yield from call(Call("POST", about.token_endpoint, FORM, urlencode(form).encode()))
    told = read_reply(reply, given.now_s)
    if told.token_type not in ("", "bearer"):
        raise failed("The issuer's authorization server gave a token of a type that is not supported.")
    return Session(places, configuration, _identifier(told.details, configuration), told.access_token)


def _configuration(kind: VcCredential, offer: Offer, places: IssuerPlaces) -> str:
    """The first that the offer names, the issuer describes, and the profile's credential can be."""
    for name in offer.configurations:
        match places.configurations.get(name):
            case {"format": format_, **rest} if format_ in FORMATS[kind.format]:
                if kind.format != "dc+sd-jwt" or rest.get("vct") in kind.types:
                    return name
    raise MintFailedError(unusable("The offer holds no credential of the format and type that the profile names."))


def _identifier(details: tuple[object, ...] | None, configuration: str) -> str | None:
    """A `credential_identifier` that the token is for; where there are some, one must be used (section 8.2)."""
    for detail in details or ():
        match detail:
            case {"credential_configuration_id": name, "credential_identifiers": [str(identifier), *_]} if (
                name == configuration
            ):
                return identifier
    return None


def requested(kind: VcCredential, session: Session, given: Ingredients) -> Minting[Received | Deferred]:
    """Ask for the credential, with a proof of possession where it will be bound to our key (sections 7 and 8)."""
    which = (
        {"credential_configuration_id": session.configuration}
        if session.identifier is None
        else {"credential_identifier": session.identifier}
    )
    body: dict[str, object] = dict(which)
    key = given.keys.get(HOLDER)
    if key is not None:
        body["proofs"] = {"jwt": [(yield from _proof(session, key, given.now_s))]}
    reply = yield from _post(session, session.places.credential, body)
    return (yield from _outcome(kind, session, given, reply))


def asked_again(kind: VcCredential, deferred: Deferred, given: Ingredients) -> Minting[Received | Deferred]:
    """Ask for a credential that was not ready (section 9)."""
    if deferred.session.places.deferred is None:
        raise failed("The issuer defers the credential and does not say where to ask again.")
    body: dict[str, object] = {"transaction_id": deferred.transaction}
    reply = yield from _post(deferred.session, deferred.session.places.deferred, body)
    return (yield from _outcome(kind, deferred.session, given, reply, deferred.transaction))


def _proof(session: Session, key: PublicKey, now_s: int) -> Minting[str]:
    """Section F.1: `iss` is left out, because the code may have been redeemed without a client id."""
    claims: dict[str, object] = {"aud": session.places.issuer, "iat": now_s}
    if session.places.nonce is not None:
        reply = yield from call(Call("POST", session.places.nonce, JSON))
        told = replies.good_object(reply, now_s, "The issuer gave no nonce.")
        claims["nonce"] = replies.token_at(told, "/c_nonce", "The issuer gave no nonce.")
    jwk = {name: key.jwk[name] for name in REQUIRED[key.jwk["kty"]]}
    return (yield from signed(HOLDER, key, {"typ": "openid4vci-proof+jwt", "jwk": jwk}, claims))


def _post(session: Session, url: str, body: Mapping[str, object]) -> Minting[Reply]:
    headers = {**JSON, "authorization": f"Bearer {session.token}"}
    return (yield from call(Call("POST", url, headers, orjson.dumps(dict(body)))))


def _outcome(
    kind: VcCredential, session: Session, given: Ingredients, reply: Reply, waiting: str | None = None
) -> Minting[Received | Deferred]:
    if waiting is not None and reply.status == BAD_REQUEST and _error(reply) == "issuance_pending":
        return Deferred(session, waiting, _interval_s(retry_after_s(reply, given.now_s)))
    told = replies.good_object(reply, given.now_s, NO_CREDENTIAL)
    if reply.status == ACCEPTED:
        return Deferred(
            session, replies.token_at(told, "/transaction_id", NO_CREDENTIAL), _interval_s(told.get("interval"))
        )
    match told.get("credentials"):
        case [{"credential": str(text)}, *_]:
            return (yield from _verified(kind, session, given, text, told.get("notification_id")))
    raise failed(NO_CREDENTIAL)


def _verified(
    kind: VcCredential, session: Session, given: Ingredients, text: str, notification: object
) -> Minting[Received]:
    """The credential once it has been found good; the issuer is told either way (section 11)."""
    demands = Demands(frozenset(kind.types), kind.issuers, given.keys.get(HOLDER), kind.require_status, given.now_s)
    try:
        if not text.isascii():
            raise BadTokenError("it is not ASCII")
        held = read(text.strip(), kind.format)
        yield from checked(held, demands)
    except (BadTokenError, RevokedError) as bad:
        yield from _notify(session, notification, "credential_failure")
        why = "its issuer has withdrawn it" if isinstance(bad, RevokedError) else str(bad)
        raise MintFailedError(unusable(f"The credential that came is not kept: {why}.")) from None
    yield from _notify(session, notification, "credential_accepted")
    return Received(
        text.strip(), session.places.issuer, tuple(sorted(held.types & demands.types)), held.valid_at(given.now_s)
    )


def _notify(session: Session, notification: object, event: str) -> Minting[None]:
    """Where the issuer wants to know; what it answers changes nothing."""
    if session.places.notification is None or not isinstance(notification, str):
        return
    try:
        yield from _post(session, session.places.notification, {"notification_id": notification, "event": event})
    except CallFailedError:
        return


def _error(reply: Reply) -> object:
    try:
        return json_object(reply.body).get("error")
    except BadTokenError:
        return None


def _interval_s(told: object) -> int:
    good = isinstance(told, int) and not isinstance(told, bool) and told > 0
    return min(told, MAX_INTERVAL_S) if good and isinstance(told, int) else INTERVAL_S
