"""Public halves from elsewhere; whether a signature is theirs. What a token or a remote signer says is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from proxy.keys.public import REQUIRED, PublicKey
from proxy.keys.signer import KeyUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

type AnyPublic = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
_CLASSES: Final[Mapping[str, type[ECKey | OKPKey | RSAKey]]] = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey}
_CURVES: Final[Mapping[str, str]] = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "Ed25519"}
RSA_WAYS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
MIN_RSA_BITS: Final = 2048


def public_from(key: AnyPublic, wanted: str | None) -> PublicKey:
    """The public half of `key`; an RSA key signs as `wanted` says, RS256 unless it says.

    Raises:
        KeyUnavailableError: a curve that is not used here, or too weak.
    """
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    kind = "RSA" if isinstance(key, rsa.RSAPublicKey) else "OKP" if isinstance(key, ed25519.Ed25519PublicKey) else "EC"
    try:
        return public_from_jwk(_CLASSES[kind].import_key(pem).as_dict(private=False), wanted)
    except (ValueError, JoseError):
        raise KeyUnavailableError("the key is not one of P-256, P-384, P-521, Ed25519 and RSA") from None


def public_from_jwk(document: Mapping[str, object], wanted: str | None) -> PublicKey:
    """From a public JWK (RFC 7517), of which only what belongs to the key is kept.

    Raises:
        KeyUnavailableError: it is none, holds a private part, is too weak, or is not for `wanted`.
    """
    kind = document.get("kty")
    if not isinstance(kind, str) or kind not in _CLASSES or "d" in document:
        raise KeyUnavailableError("what the signer says is not a public key")
    jwk = {name: str(document.get(name, "")) for name in REQUIRED[kind]}
    try:
        imported = _CLASSES[kind].import_key(dict(jwk))
    except (ValueError, TypeError, KeyError, JoseError):
        raise KeyUnavailableError("what the signer says is not a public key") from None
    if kind == "RSA":
        if not isinstance(imported.public_key, rsa.RSAPublicKey) or imported.public_key.key_size < MIN_RSA_BITS:
            raise KeyUnavailableError(f"an RSA key has at least {MIN_RSA_BITS} bits")
        says = document.get("alg")
        algorithm = wanted if wanted in RSA_WAYS else str(says) if says in RSA_WAYS else "RS256"
    elif (algorithm := _CURVES.get(jwk["crv"], "")) == "":
        raise KeyUnavailableError("the curve of this key is not one of P-256, P-384, P-521 and Ed25519")
    elif algorithm == "Ed25519" and wanted == "EdDSA":  # the older name of the same signatures (RFC 9864)
        algorithm = "EdDSA"
    return PublicKey(algorithm, jwk)


def verified(public: PublicKey, message: bytes, signature: bytes) -> bytes:
    """`signature`, which is `public`'s over `message` (JOSE form).

    Raises:
        KeyUnavailableError: it is not.
    """
    key = _CLASSES[public.jwk["kty"]].import_key(dict(public.jwk))
    try:
        good = JWSRegistry.algorithms[public.algorithm].verify(message, signature, key)
    except (ValueError, TypeError, JoseError):
        good = False
    if not good:
        raise KeyUnavailableError("the signature that was made is not one of this key")
    return signature
