"""An operator's own issuing CA: checked once when it is read, then used as it is."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.issue import Issuer, not_after_ms, not_before_ms
from certs.roots import RootFacts, fingerprint
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from certs.issue import SigningKey
    from certs.names import ManagedHosts
    from proxy.clock import Clock

type Chain = tuple[x509.Certificate, ...]

MIN_RSA_BITS: Final = 2048
CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
SERVER_USES: Final = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})


class SuppliedIssuer:
    """Signs leaves with the operator's certificate directly."""

    def __init__(self, issuer: Issuer, anchors: Chain, *, clock: Clock) -> None:
        self._issuer: Final = issuer
        self._anchors: Final = anchors
        self._clock: Final = clock

    def issuer(self, hosts: ManagedHosts) -> Issuer:  # noqa: ARG002  # it is what it is, whatever the hosts
        """The operator's."""
        return self._issuer

    def anchors(self) -> Chain:
        """The root, if it stands at the end of the operator's file; else nothing."""
        return self._anchors

    def facts(self) -> tuple[RootFacts, ...]:
        """What may be shown of the root, or of the issuing certificate where the root is not in the file."""
        return tuple(_facts(cert) for cert in self._anchors or (self._issuer.certificate,))

    def rotate(self, overlap_s: int) -> None:  # noqa: ARG002  # refused in any case
        """Never: it is the operator's."""
        raise BriefcaseError("the issuing CA is the operator's: rotate it where it was made, then replace its files")


def supplied_issuer(certificate_pem: bytes, key_pem: bytes, *, clock: Clock) -> SuppliedIssuer:
    """Read and check an issuing CA: its certificate, then its chain in order, with or without the root.

    Raises:
        BriefcaseError: unreadable; the key is another's; not a CA, not valid now, or not meant for servers; the chain
            is not one. Its text never quotes the input.
    """
    certs = _certificates(certificate_pem)
    key = _key(key_pem)
    if certs[0].public_key() != key.public_key():
        raise BriefcaseError("issuer_key does not belong to the first certificate of issuer_certificate")
    for depth, cert in enumerate(certs):
        _check_ca(cert, depth, clock.wall_ms())
    for cert, above in pairwise(certs):
        if not _issued_by(cert, above):
            raise BriefcaseError("issuer_certificate: each certificate must be issued by the one that follows it")
    anchors = certs[-1:] if _issued_by(certs[-1], certs[-1]) else ()
    chain = certs[:-1] if anchors else certs
    return SuppliedIssuer(Issuer(certs[0], key, chain), anchors, clock=clock)


def _certificates(pem: bytes) -> Chain:
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except (ValueError, x509.InvalidVersion):
        raise BriefcaseError("issuer_certificate is not a PEM file of certificates") from None


def _key(pem: bytes) -> SigningKey:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except TypeError:
        raise BriefcaseError("issuer_key is encrypted; supply it decrypted through a secret ref") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BriefcaseError("issuer_key is not a PEM private key") from None
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, CURVES):
        return key
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= MIN_RSA_BITS:
        return key
    raise BriefcaseError("issuer_key must be ECDSA on P-256, P-384 or P-521, or RSA of at least 2048 bits")


def _check_ca(cert: x509.Certificate, depth: int, now_ms: int) -> None:
    """`depth` is the number of CA certificates between `cert` and a leaf."""
    where = f"issuer_certificate: certificate {depth + 1}"
    if not not_before_ms(cert) <= now_ms < not_after_ms(cert):
        raise BriefcaseError(f"{where} is not valid now")
    try:
        basic = cert.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = cert.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        raise BriefcaseError(f"{where} does not say that it is a CA (basicConstraints, keyUsage)") from None
    except (ValueError, x509.DuplicateExtension):
        raise BriefcaseError(f"{where} has extensions that cannot be read") from None
    if not basic.ca or not usage.key_cert_sign:
        raise BriefcaseError(f"{where} is not a CA that may sign certificates (CA:TRUE, keyCertSign)")
    if basic.path_length is not None and basic.path_length < depth:
        raise BriefcaseError(f"{where} does not allow that many CAs below it (pathlen)")
    if not _for_servers(cert):
        raise BriefcaseError(f"{where} is not meant for TLS servers (extendedKeyUsage)")


def _for_servers(cert: x509.Certificate) -> bool:
    try:
        uses = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return not SERVER_USES.isdisjoint(uses)


def _issued_by(cert: x509.Certificate, above: x509.Certificate) -> bool:
    try:
        cert.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _facts(cert: x509.Certificate) -> RootFacts:
    return RootFacts(
        subject=cert.subject.rfc4514_string(),
        fingerprint=fingerprint(cert),
        state="signing",
        not_before_ms=not_before_ms(cert),
        not_after_ms=not_after_ms(cert),
        signs_from_ms=not_before_ms(cert),
        trusted_until_ms=None,
    )
