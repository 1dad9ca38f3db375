"""Keys in a token: their public halves, and the mechanism for each JOSE algorithm. Speaks to the module."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from proxy.keys.signer import KeyUnavailableError
from proxy.keys.verification import public_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pkcs11

    from proxy.keys.pkcs11_uri import KeyUri
    from proxy.keys.public import PublicKey as PublicHalf
    from proxy.keys.verification import AnyPublic

ED25519: Final = (b"\x13\x0cedwards25519", b"\x06\x03\x2b\x65\x70")
"""How EC_PARAMS names the curve: by its name, or by its object identifier (PKCS #11 3.0, section 2.3.10)."""
_OCTETS: Final = b"\x04\x20"
"""DER of an OCTET STRING of 32 bytes; some tokens give the point without it."""
_HASHES: Final[Mapping[str, str]] = {"ES256": "sha256", "ES384": "sha384", "ES512": "sha512"}


def public_half(session: pkcs11.Session, uri: KeyUri, wanted: str | None) -> PublicHalf:
    """The public half of the key at `uri`, for `wanted` where the key can.

    Raises:
        KeyUnavailableError: there is none, or it is none of P-256, P-384, P-521, Ed25519 and RSA.
    """
    from pkcs11 import ObjectClass, PublicKey  # noqa: PLC0415  # an extra

    found = session.get_key(object_class=ObjectClass.PUBLIC_KEY, label=uri.label, id=uri.id)
    if not isinstance(found, PublicKey):
        raise KeyUnavailableError("the token has no public half of the key")
    try:
        return public_from(_key(found), wanted)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnavailableError("the key in the token is not one that can be used") from None


def _key(found: pkcs11.PublicKey) -> AnyPublic:
    from pkcs11 import Attribute, KeyType  # noqa: PLC0415
    from pkcs11.util.ec import encode_ec_public_key  # noqa: PLC0415
    from pkcs11.util.rsa import encode_rsa_public_key  # noqa: PLC0415

    if found.key_type is KeyType.EC_EDWARDS and found[Attribute.EC_PARAMS] in ED25519:
        point = bytes(found[Attribute.EC_POINT])
        return ed25519.Ed25519PublicKey.from_public_bytes(point.removeprefix(_OCTETS) if len(point) > 32 else point)  # noqa: PLR2004
    encode = encode_rsa_public_key if found.key_type is KeyType.RSA else encode_ec_public_key
    key = load_der_public_key(encode(found))
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ValueError("another type of key")
    return key


def signature(session: pkcs11.Session, uri: KeyUri, algorithm: str, message: bytes) -> bytes:
    """By the private key at `uri`, in the form of JOSE. Raises `KeyUnavailableError`."""
    from pkcs11 import MGF, Mechanism, ObjectClass, SignMixin  # noqa: PLC0415

    private = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=uri.label, id=uri.id)
    if not isinstance(private, SignMixin):
        raise KeyUnavailableError("the key in the token is not one that signs")
    if algorithm in _HASHES:  # not every token hashes for ECDSA; all sign a digest, and give R and S side by side
        digest = hashlib.new(_HASHES[algorithm], message).digest()
        return bytes(private.sign(digest, mechanism=Mechanism.ECDSA))
    if algorithm in ("Ed25519", "EdDSA"):
        return bytes(private.sign(message, mechanism=Mechanism.EDDSA))
    family, bits = algorithm[:2], algorithm[2:]
    if family == "PS":  # RFC 7518, section 3.5: the same hash inside, and a salt of its size
        inside = (Mechanism[f"SHA{bits}"], MGF[f"SHA{bits}"], int(bits) // 8)
        return bytes(private.sign(message, mechanism=Mechanism[f"SHA{bits}_RSA_PKCS_PSS"], mechanism_param=inside))
    return bytes(private.sign(message, mechanism=Mechanism[f"SHA{bits}_RSA_PKCS"]))
