"""Making certificates: pure builders over keys, names and times (RFC 5280)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.names import address_of
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from certs.names import ManagedHosts

type SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

BACKDATE_S: Final = 300
"""An agent's clock may be this far behind ours."""
ROOT_NAME: Final = "Credential Briefcase root"
SERVER_AUTH: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


@dataclass(frozen=True, slots=True)
class Span:
    """When a certificate is valid and when it is due for renewal, all in milliseconds since the epoch."""

    not_before_ms: int
    not_after_ms: int
    renew_at_ms: int

    @classmethod
    def starting(cls, now_ms: int, lifetime_s: int, *, ends_ms: int) -> Self:
        """From now, back-dated, for `lifetime_s` but not beyond `ends_ms`, the end of the issuer.

        Renewal is due at half life; where the issuer sets the end a new one would not last longer, so it is not.

        Raises:
            BriefcaseError: the issuer has ended.
        """
        if now_ms >= ends_ms:
            raise BriefcaseError("the interception CA has expired; make a new root with `briefcased ca rotate`")
        wanted_ms = now_ms + lifetime_s * 1000
        renew_at_ms = ends_ms if wanted_ms >= ends_ms else now_ms + lifetime_s * 500
        return cls(now_ms - BACKDATE_S * 1000, min(wanted_ms, ends_ms), renew_at_ms)

    def fresh(self, now_ms: int) -> bool:
        """Whether the certificate is valid and not yet due; False as well when the clock was set back."""
        return self.not_before_ms <= now_ms < self.renew_at_ms


@dataclass(frozen=True, slots=True, eq=False)
class Issuer:
    """What leaves are signed with.

    Attributes:
        chain: what is sent behind a leaf, nearest issuer first, without the root.
    """

    certificate: x509.Certificate
    key: SigningKey
    chain: tuple[x509.Certificate, ...]

    @property
    def not_after_ms(self) -> int:
        """The earliest end in the chain."""
        return min(not_after_ms(cert) for cert in (self.certificate, *self.chain))


def not_before_ms(cert: x509.Certificate) -> int:
    """The start of validity."""
    return int(cert.not_valid_before_utc.timestamp()) * 1000


def not_after_ms(cert: x509.Certificate) -> int:
    """The end of validity."""
    return int(cert.not_valid_after_utc.timestamp()) * 1000


def moment(at_ms: int) -> datetime:
    """A time as certificates write it: whole seconds, cut off (RFC 5280, section 4.1.2.5)."""
    return datetime.fromtimestamp(at_ms // 1000, UTC)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def root_certificate(key: ec.EllipticCurvePrivateKey, span: Span) -> x509.Certificate:
    """A self-signed root that allows one level of CA below it. Its name is unique: two roots overlap in a rotation."""
    name = _name(ROOT_NAME, key)
    builder = _ca(_builder(name, name, key.public_key(), span), path_length=1)
    return builder.add_extension(_key_identifier_of(key), critical=False).sign(key, hashes.SHA256())


def intermediate_certificate(
    key: ec.EllipticCurvePrivateKey, issuer: Issuer, hosts: ManagedHosts, span: Span
) -> x509.Certificate:
    """An issuing CA that can vouch for `hosts` as TLS servers, and for nothing else."""
    builder = _builder(
        _name("Credential Briefcase issuing CA", key), issuer.certificate.subject, key.public_key(), span
    )
    builder = (
        _ca(builder, path_length=0)
        .add_extension(hosts.constraints(), critical=True)
        .add_extension(SERVER_AUTH, critical=False)
        .add_extension(_key_identifier(issuer.certificate), critical=False)
    )
    return builder.sign(issuer.key, _hash(issuer.key))


def leaf_certificate(key: ec.EllipticCurvePrivateKey, issuer: Issuer, host: str, span: Span) -> x509.Certificate:
    """A server certificate for one host; the name stands in the SAN alone (RFC 9525, section 2)."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Credential Briefcase leaf")])
    address = address_of(host)
    san: x509.GeneralName = x509.DNSName(host) if address is None else x509.IPAddress(address)
    builder = (
        _builder(subject, issuer.certificate.subject, key.public_key(), span)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(SERVER_AUTH, critical=False)
        .add_extension(x509.SubjectAlternativeName([san]), critical=False)
        .add_extension(_key_identifier(issuer.certificate), critical=False)
    )
    return builder.sign(issuer.key, _hash(issuer.key))


def _name(what: str, key: ec.EllipticCurvePrivateKey) -> x509.Name:
    mark = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest[:4].hex()
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{what} {mark}")])


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, span: Span
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(span.not_before_ms))
        .not_valid_after(moment(span.not_after_ms))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _ca(builder: x509.CertificateBuilder, *, path_length: int) -> x509.CertificateBuilder:
    basic = x509.BasicConstraints(ca=True, path_length=path_length)
    return builder.add_extension(basic, critical=True).add_extension(_usage(ca=True), critical=True)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """The issuer's own SKI where it has one, since CAs compute it differently (RFC 5280, section 4.2.1.1)."""
    try:
        ski = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(_issuer_key(issuer))
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski)


def _issuer_key(issuer: x509.Certificate) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    key = issuer.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    return key


def _key_identifier_of(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _hash(key: SigningKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    """As strong as the curve (RFC 5480, section 4); SHA-256 for RSA."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        match key.curve:
            case ec.SECP384R1():
                return hashes.SHA384()
            case ec.SECP521R1():
                return hashes.SHA512()
    return hashes.SHA256()
