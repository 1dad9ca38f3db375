"""Whose keys sign credentials: a key set of the operator, the issuer's own metadata, or a certificate. Pure.

Sources: SD-JWT VC (draft-ietf-oauth-sd-jwt-vc), "Issuer Signature Mechanisms"; RFC 7515, section 4.1.6.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from pydantic import Field, JsonValue, model_validator

from proxy.credentials.kind import Call, CallFailedError, call
from proxy.credentials.vc.jose import BadTokenError, json_object, keys_in
from proxy.documents import Strict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proxy.credentials.kind import Minting
    from proxy.credentials.vc.jose import Jws

WELL_KNOWN: Final = "/.well-known/jwt-vc-issuer"
MAX_CERTIFICATES: Final = 8
HTTP_OK: Final = 200
type Keys = tuple[Mapping[str, object], ...]


class Issuer(Strict):
    """Somebody whose credentials are believed. Without `jwks` and `roots`: by the keys that its own metadata names."""

    issuer: str = Field(pattern=r"^[a-z][a-z0-9+.-]*:\S{1,512}$", description="Its identifier: `iss`, exactly.")
    jwks: dict[str, JsonValue] | None = Field(default=None, description="Its JWK set, given by you.")
    roots: str | None = Field(default=None, description="PEM roots that its certificate (`x5c`) must lead to.")

    @model_validator(mode="after")
    def _one_mechanism(self) -> Self:
        if self.jwks is not None and self.roots is not None:
            raise ValueError("give either jwks or roots")
        if self.jwks is None and self.roots is None and not self.issuer.startswith("https://"):
            raise ValueError("an issuer that is not an https URL needs jwks or roots")
        readable(self.jwks, self.roots)
        return self


def readable(jwks: object, roots: str | None) -> None:
    """Raises ValueError where what the operator gave is no JWK set, or no PEM certificates; None is nothing given."""
    try:
        if jwks is not None:
            keys_in(jwks)
        if roots is not None:
            x509.load_pem_x509_certificates(roots.encode())
    except (BadTokenError, ValueError):
        raise ValueError("these are no keys or certificates") from None


def issuer_keys(issuer: Issuer, token: Jws, now_s: int) -> Minting[Keys]:
    """The keys that may have signed `token` in the name of `issuer`.

    Raises:
        BadTokenError: there are none that are tied to it.
        CallFailedError: its metadata cannot be had.
    """
    if issuer.jwks is not None:
        return keys_in(issuer.jwks)
    if issuer.roots is not None:
        leaf = certified_leaf(token, issuer.roots, now_s)
        if not _names(leaf, issuer.issuer):
            raise BadTokenError("the certificate is not its issuer's")
        return (public_jwk(leaf),)
    return (yield from _published(issuer.issuer))


def _published(issuer: str) -> Minting[Keys]:
    parts = urlsplit(issuer)
    metadata = yield from fetched_json(f"https://{parts.netloc}{WELL_KNOWN}{parts.path.rstrip('/')}")
    if metadata.get("issuer") != issuer or ("jwks" in metadata) == ("jwks_uri" in metadata):
        raise BadTokenError("the issuer's metadata is not about it, or names no keys")
    if "jwks" in metadata:
        return keys_in(metadata["jwks"])
    place = metadata["jwks_uri"]
    if not isinstance(place, str):
        raise BadTokenError("the issuer's metadata names no keys")
    return keys_in((yield from fetched_json(place)))


def fetched_json(url: str) -> Minting[dict[str, object]]:
    """The JSON object at `url`. Raises `BadTokenError`, `CallFailedError`."""
    reply = yield from call(Call("GET", url, {"accept": "application/json"}))
    if reply.status != HTTP_OK:
        raise CallFailedError("a document of the issuer cannot be fetched")
    return json_object(reply.body)


def certified_leaf(token: Jws, roots: str, now_s: int) -> x509.Certificate:
    """The certificate that `token` is signed with, once it leads to `roots`. Raises `BadTokenError`."""
    listed = token.header.get("x5c")
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_CERTIFICATES:
        raise BadTokenError("it brings no certificate")
    try:
        chain = [x509.load_der_x509_certificate(base64.b64decode(entry, validate=True)) for entry in listed]
        _checked(chain, x509.load_pem_x509_certificates(roots.encode()), now_s)
    except (TypeError, ValueError, binascii.Error, VerificationError, UnsupportedAlgorithm):
        raise BadTokenError("its certificate does not lead to a trusted root") from None
    return chain[0]


def _checked(chain: Sequence[x509.Certificate], roots: list[x509.Certificate], now_s: int) -> None:
    """RFC 5280, section 6, without demands of the web's PKI on the leaf."""
    policy = (
        PolicyBuilder()
        .store(Store(roots))
        .time(datetime.fromtimestamp(now_s, UTC))
        .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all())
    )
    policy.build_client_verifier().verify(chain[0], list(chain[1:]))


def host_names(leaf: x509.Certificate) -> tuple[str, ...]:
    """The DNS names of a certificate, lower-case."""
    return tuple(name.lower() for name in _alternatives(leaf, x509.DNSName))


def _names(leaf: x509.Certificate, issuer: str) -> bool:
    host = urlsplit(issuer).hostname if issuer.startswith("https://") else None
    return issuer in _alternatives(leaf, x509.UniformResourceIdentifier) or (
        host is not None and host in host_names(leaf)
    )


def _alternatives(leaf: x509.Certificate, kind: type[x509.DNSName | x509.UniformResourceIdentifier]) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [str(name) for name in names.get_values_for_type(kind)]


def public_jwk(leaf: x509.Certificate) -> Mapping[str, object]:
    """Its public key. Raises `BadTokenError`."""
    pem = leaf.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for kind in (ECKey, RSAKey, OKPKey):
        try:
            return dict(kind.import_key(pem).as_dict(private=False))
        except (JoseError, ValueError, TypeError):
            continue
    raise BadTokenError("its certificate has a key of a kind that is not supported")
