"""Keys in memory: from PEM (PKCS #8, or the older forms) or a JSON Web Key, and new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from proxy.keys.public import PublicKey
from proxy.keys.signer import KeyUnavailableError

if TYPE_CHECKING:
    from proxy.secret import Secret

type PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
MIN_RSA_BITS: Final = 2048
_CURVES: Final[dict[str, tuple[str, int, hashes.HashAlgorithm]]] = {
    "secp256r1": ("ES256", 32, hashes.SHA256()),
    "secp384r1": ("ES384", 48, hashes.SHA384()),
    "secp521r1": ("ES512", 66, hashes.SHA512()),
}
_RSA_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
BEGIN: Final = b"-----BEGIN "
CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"


class SoftwareSigner:
    """A private key of this process."""

    def __init__(self, key: PrivateKey, public: PublicKey) -> None:
        self._key: Final = key
        self._public: Final = public

    @property
    def public(self) -> PublicKey:
        """Its public half."""
        return self._public

    async def sign(self, message: bytes) -> bytes:
        """See `Signer`."""
        return sign(self._key, self._public.algorithm, message)

    def pem(self) -> bytes:
        """The private key itself, PKCS #8; for the one place that stores it sealed, and for TLS."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def sign(key: PrivateKey, algorithm: str, message: bytes) -> bytes:
    """A JOSE signature (RFC 7518, sections 3.3 to 3.5; RFC 8037)."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    if isinstance(key, rsa.RSAPrivateKey):
        digest = _RSA_HASHES[algorithm[2:]]
        if algorithm.startswith("PS"):
            return key.sign(message, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        return key.sign(message, padding.PKCS1v15(), digest)
    _, size, digest = _CURVES[key.curve.name]
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def generate(algorithm: str) -> SoftwareSigner:
    """A new key for `ES256`, `ES384`, `Ed25519` (or `EdDSA`), or RSA: `RS256` to `RS512`, `PS256` to `PS512`."""
    key: PrivateKey
    match algorithm:
        case "ES256":
            key = ec.generate_private_key(ec.SECP256R1())
        case "ES384":
            key = ec.generate_private_key(ec.SECP384R1())
        case "Ed25519" | "EdDSA":
            key = ed25519.Ed25519PrivateKey.generate()
        case "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512":
            key = rsa.generate_private_key(65537, 2048)
        case _:
            raise KeyUnavailableError(f"no key can be made for the algorithm {algorithm}")
    return SoftwareSigner(key, public_of(key, algorithm))


def load(secret: Secret, algorithm: str | None = None) -> SoftwareSigner:
    """The key in `secret`: PEM, with its certificates if they stand there too, or a private JWK.

    Args:
        secret: what a secret store gave.
        algorithm: what it should sign with; None for the usual one of the key's type.

    Raises:
        KeyUnavailableError: it is no key, has a passphrase, is too weak, or does not fit `algorithm`.
    """
    raw = secret.reveal()
    certificates: tuple[bytes, ...] = ()
    try:
        if raw.lstrip().startswith(b"{"):
            key = _from_jwk(raw)
        else:
            start = raw.index(BEGIN)
            key = _private(serialization.load_pem_private_key(_key_part(raw[start:]), password=None))
            certificates = _certificates(raw)
    except (ValueError, TypeError, KeyError, UnsupportedAlgorithm, JoseError):
        raise KeyUnavailableError("the secret is not a private key in PEM or JWK form without passphrase") from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < MIN_RSA_BITS:
        raise KeyUnavailableError(f"an RSA key has at least {MIN_RSA_BITS} bits")
    return SoftwareSigner(key, public_of(key, algorithm, certificates))


def load_for(secret: Secret, wanted: str) -> SoftwareSigner:
    """As `load`, for `wanted` where an RSA key could sign in several ways."""
    found = load(secret)
    rsa_ways = ("RS", "PS")
    if found.public.algorithm[:2] in rsa_ways and wanted[:2] in rsa_ways and wanted != found.public.algorithm:
        return load(secret, wanted)
    return found


def public_of(key: PrivateKey, algorithm: str | None = None, certificates: tuple[bytes, ...] = ()) -> PublicKey:
    """The public half, and what it signs with.

    Raises:
        KeyUnavailableError: `algorithm` is not one of this key's.
    """
    usual = usual_algorithm(key)
    chosen = algorithm or usual
    fits = chosen == usual or (
        isinstance(key, rsa.RSAPrivateKey) and chosen[:2] in ("RS", "PS") and chosen[2:] in _RSA_HASHES
    )
    fits = fits or (isinstance(key, ed25519.Ed25519PrivateKey) and chosen == "EdDSA")
    if not fits:
        raise KeyUnavailableError(f"the key signs with {usual}, not with {chosen}")
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    imported = _key_class(key).import_key(pem)
    jwk = {name: str(value) for name, value in imported.as_dict(private=False).items() if name != "kid"}
    return PublicKey(chosen, jwk, certificates)


def usual_algorithm(key: PrivateKey) -> str:
    """The JOSE algorithm that a key of this type is used with. Raises `KeyUnavailableError`."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "Ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "RS256"
    if key.curve.name not in _CURVES:
        raise KeyUnavailableError("the curve of this key is not one of P-256, P-384 and P-521")
    return _CURVES[key.curve.name][0]


def _key_class(key: PrivateKey) -> type[ECKey | OKPKey | RSAKey]:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return OKPKey
    return RSAKey if isinstance(key, rsa.RSAPrivateKey) else ECKey


def _from_jwk(raw: bytes) -> PrivateKey:
    document = orjson.loads(raw)
    kinds: dict[str, type[ECKey | OKPKey | RSAKey]] = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey}
    imported = kinds[document["kty"]].import_key(document)
    return _private(imported.private_key)


def _private(key: object) -> PrivateKey:
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        raise TypeError("not a private key that signs")
    return key


def _key_part(raw: bytes) -> bytes:
    """The private key's block among the blocks of a PEM file."""
    for block in raw.split(BEGIN)[1:]:
        label = block.split(b"-----", 1)[0]
        if label.endswith(b"PRIVATE KEY"):
            end = b"-----END " + label + b"-----"
            return BEGIN + block.split(end, 1)[0] + end + b"\n"
    raise ValueError("no private key")


def _certificates(raw: bytes) -> tuple[bytes, ...]:
    if CERTIFICATE not in raw:
        return ()
    return tuple(c.public_bytes(serialization.Encoding.DER) for c in x509.load_pem_x509_certificates(raw))
