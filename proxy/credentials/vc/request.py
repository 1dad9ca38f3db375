"""A verifier's request: read, and believed only as far as its client identifier prefix allows. Pure.

Sources: OpenID for Verifiable Presentations 1.0, sections 5 and 8; RFC 9101.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Self
from urllib.parse import parse_qsl, urlsplit

import orjson
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jwe, jwk
from joserfc.errors import JoseError
from pydantic import Field, JsonValue, model_validator

from proxy.credentials.vc.jose import BadTokenError, json_object, keys_in, parse, valid_at, verify
from proxy.credentials.vc.trust import certified_leaf, host_names, public_jwk, readable
from proxy.documents import Strict
from proxy.keys.public import base64url

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPE: Final = "oauth-authz-req+jwt"
AUDIENCE: Final = "https://self-issued.me/v2"
"""`aud` of a request object for a wallet that was not discovered (OpenID4VP 1.0, section 5.8)."""
MAX_NONCE: Final = 1024
_ENCODINGS: Final = ("A128GCM", "A256GCM")


class Verifier(Strict):
    """Who may ask for a presentation."""

    client_id: str = Field(
        pattern=r"^[\x21-\x7e]{1,512}$",
        description="Exactly as it stands in the request, with its prefix: `x509_san_dns:`, `x509_hash:`, "
        "`redirect_uri:`, or none for a verifier whose keys you give.",
    )
    jwks: dict[str, JsonValue] | None = Field(default=None, description="Its keys, where client_id has no prefix.")
    roots: str | None = Field(default=None, description="PEM roots for the x509 prefixes.")

    @property
    def prefix(self) -> Literal["x509_san_dns", "x509_hash", "redirect_uri", ""]:
        """What stands before the first colon, where it is a prefix that we know."""
        match self.client_id.partition(":"):
            case ["x509_san_dns" | "x509_hash" | "redirect_uri" as known, ":", _]:
                return known
        return ""

    @model_validator(mode="after")
    def _has_keys(self) -> Self:
        needs_roots, needs_jwks = self.prefix.startswith("x509"), self.prefix == ""
        if needs_roots != (self.roots is not None) or needs_jwks != (self.jwks is not None):
            raise ValueError("the x509 prefixes need roots, redirect_uri nothing, and any other client_id jwks")
        readable(self.jwks, self.roots)
        return self


@dataclass(frozen=True, slots=True)
class Request:
    """A verified request of the verifier that the profile names.

    Attributes:
        encrypt_for: a public JWK, or None.
        metadata: `client_metadata`, as it came.
        transactions: `transaction_data`, as it came.
    """

    client_id: str
    nonce: str
    response_uri: str
    query: object
    state: str | None
    encrypt_for: Mapping[str, object] | None = field(default=None, repr=False)
    encoding: str = _ENCODINGS[0]
    metadata: object = field(default=None, repr=False)
    transactions: object = field(default=None, repr=False)


def outer_parameters(text: str) -> dict[str, str]:
    """The parameters of an authorization request URL (`openid4vp://?…`). Raises `BadTokenError`."""
    try:
        pairs = parse_qsl(urlsplit(text).query, keep_blank_values=True, max_num_fields=32)
    except ValueError:
        raise BadTokenError("the verifier's request is no URL of one") from None
    if len({name for name, _ in pairs}) < len(pairs):
        raise BadTokenError("a parameter of the verifier's request stands twice")
    return dict(pairs)


def signed_request(text: str, verifier: Verifier, now_s: int, *, wallet_nonce: str | None = None) -> Request:
    """The request in a signed request object. Raises `BadTokenError`."""
    token = parse(text, (TYPE,))
    match verifier.prefix:
        case "":
            verify(token, keys_in(verifier.jwks))
        case "redirect_uri":
            raise BadTokenError("a verifier with the prefix redirect_uri does not sign its requests")
        case "x509_san_dns" | "x509_hash" as prefix:
            leaf = certified_leaf(token, verifier.roots or "", now_s)
            verify(token, (public_jwk(leaf),))
            named = verifier.client_id.partition(":")[2]
            print_ = base64url(hashlib.sha256(leaf.public_bytes(Encoding.DER)).digest())
            if named not in ((print_,) if prefix == "x509_hash" else host_names(leaf)):
                raise BadTokenError("the verifier's certificate does not carry its name")
    valid_at(token.claims, now_s)
    if token.claims.get("aud", AUDIENCE) not in (AUDIENCE, [AUDIENCE]):
        raise BadTokenError("the verifier's request is for somebody else")
    if wallet_nonce is not None and token.claims.get("wallet_nonce") != wallet_nonce:
        raise BadTokenError("the verifier's request is not the answer to ours")
    return _request(token.claims, verifier)


def unsigned_request(parameters: Mapping[str, str], verifier: Verifier) -> Request:
    """The request in plain parameters, which only the prefix `redirect_uri` allows. Raises `BadTokenError`."""
    if verifier.prefix != "redirect_uri":
        raise BadTokenError("the verifier's request is not signed")
    if "transaction_data" in parameters:
        raise BadTokenError("a transaction is authorized only where the verifier's request is signed")
    claims: dict[str, object] = dict(parameters)
    for name in ("dcql_query", "client_metadata"):
        if name in parameters:
            claims[name] = json_object(parameters[name])
    return _request(claims, verifier)


def _request(claims: Mapping[str, object], verifier: Verifier) -> Request:
    said = {name: claims.get(name) for name in ("client_id", "nonce", "response_uri", "response_type", "response_mode")}
    nonce, response_uri, state = said["nonce"], said["response_uri"], claims.get("state")
    if said["client_id"] != verifier.client_id:
        raise BadTokenError("the verifier is not the one that the profile names")
    if said["response_type"] != "vp_token" or said["response_mode"] not in ("direct_post", "direct_post.jwt"):
        raise BadTokenError("the verifier wants its answer in a way that is not supported")
    if not isinstance(nonce, str) or not 0 < len(nonce) <= MAX_NONCE or not isinstance(response_uri, str):
        raise BadTokenError("the verifier's request has no nonce or no place for the answer")
    if not isinstance(state, str | None) or "redirect_uri" in claims:
        raise BadTokenError("the verifier asks for something that is not supported")
    if verifier.prefix == "redirect_uri" and verifier.client_id != f"redirect_uri:{response_uri}":
        raise BadTokenError("the place for the answer is not the verifier's")
    metadata, encrypt_for, encoding = claims.get("client_metadata"), None, _ENCODINGS[0]
    if said["response_mode"] == "direct_post.jwt":
        encrypt_for, encoding = _encryption(metadata)
    return Request(
        verifier.client_id,
        nonce,
        response_uri,
        claims.get("dcql_query"),
        state,
        encrypt_for,
        encoding,
        metadata,
        claims.get("transaction_data"),
    )


def _encryption(metadata: object) -> tuple[Mapping[str, object], str]:
    """The verifier's key for the answer, and the content encryption (OpenID4VP 1.0, section 8.3)."""
    match metadata:
        case {"jwks": jwks, **rest}:
            offered = rest.get("encrypted_response_enc_values_supported", list(_ENCODINGS[:1]))
            encoding = next((e for e in _ENCODINGS if isinstance(offered, list) and e in offered), None)
            for key in keys_in(jwks):
                good = key.get("kty") == "EC" and key.get("alg") == "ECDH-ES" and key.get("use") in (None, "enc")
                if good and encoding is not None:
                    return key, encoding
    raise BadTokenError("the verifier names no key for an encrypted answer that is supported")


def answer_form(request: Request, vp_token: Mapping[str, list[str]]) -> dict[str, str]:
    """What is posted to `response_uri` (section 8.2), encrypted where the verifier asked so. Raises `BadTokenError`."""
    state = {} if request.state is None else {"state": request.state}
    if request.encrypt_for is None:
        return {"vp_token": orjson.dumps(dict(vp_token)).decode(), **state}
    header = {"alg": "ECDH-ES", "enc": request.encoding}
    if isinstance(kid := request.encrypt_for.get("kid"), str):
        header["kid"] = kid
    public = {name: str(request.encrypt_for[name]) for name in ("kty", "crv", "x", "y") if name in request.encrypt_for}
    try:
        key = jwk.import_key(dict(public))
        plain = orjson.dumps({"vp_token": dict(vp_token), **state})
        return {"response": jwe.encrypt_compact(header, plain, key)}
    except (JoseError, ValueError, TypeError):
        raise BadTokenError("the answer cannot be encrypted with the verifier's key") from None
