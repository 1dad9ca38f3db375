"""A trust domain: its CA, and X.509-SVIDs of its workloads, also such as must be refused."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.rig.client_certs import USAGES, named

if TYPE_CHECKING:
    from pathlib import Path

HOUR = dt.timedelta(hours=1)
WORKLOAD = named("workload")


def usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**(dict.fromkeys(USAGES, False) | dict.fromkeys(names, True)))


@dataclass
class TrustDomain:
    """`pem` is its bundle. One that is `above` it makes it an intermediate CA, which its SVIDs then bring along."""

    name: str = "example.org"
    above: TrustDomain | None = None
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        builder = self._builder(self.key.public_key(), HOUR, self.subject)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(usage("key_cert_sign", "crl_sign"), critical=True)
        above = self.above or self
        self.certificate = above.signed(builder, f"spiffe://{self.name}")
        self.pem = self.certificate.public_bytes(Encoding.PEM)

    @property
    def subject(self) -> x509.Name:
        return named(f"CA of {self.name}" if self.above is None else f"CA below {self.name}")

    def _builder(
        self, key: ec.EllipticCurvePublicKey, life: dt.timedelta, subject: x509.Name = WORKLOAD
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder().subject_name(subject)
        builder = builder.public_key(key).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - HOUR).not_valid_after(now + life)
        return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)

    def signed(self, builder: x509.CertificateBuilder, *uris: str) -> x509.Certificate:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.issuer_name(self.subject).add_extension(issuer, critical=False)
        if uris:
            names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def svid(
        self,
        *uris: str,
        life: dt.timedelta = HOUR,
        ca: bool = False,
        usages: tuple[str, ...] | None = ("digital_signature",),
        critical: bool = True,
        purposes: tuple[x509.ObjectIdentifier, ...] = (
            ExtendedKeyUsageOID.CLIENT_AUTH,
            ExtendedKeyUsageOID.SERVER_AUTH,
        ),
    ) -> Certified:
        """A certificate with these URIs and its key. Whatever differs from the defaults makes it no good SVID."""
        own = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(own.public_key(), life)
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        if usages is not None:
            builder = builder.add_extension(usage(*usages), critical=critical)
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        return Certified(own, self.signed(builder, *uris), b"" if self.above is None else self.pem)

    def server(self, folder: Path) -> dict[str, str]:
        """Files of a listener on 127.0.0.1, as its `tls` names them."""
        own = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(own.public_key(), HOUR)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(usage("digital_signature"), critical=True)
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        made = Certified(own, self.signed(builder))
        certificate, key = folder / "listener.pem", folder / "listener.key"
        certificate.write_bytes(made.certificate.public_bytes(Encoding.PEM))
        key.write_bytes(made.key_pem)
        return {"certificate": str(certificate), "key": str(key)}


@dataclass
class Certified:
    """A certificate and its key."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    chain: bytes = b""

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def write(self, path: Path) -> Path:
        """PEM of the key and the certificate, then what is between it and the bundle."""
        path.write_bytes(self.key_pem + self.certificate.public_bytes(Encoding.PEM) + self.chain)
        return path

    def client(self, path: Path, roots: bytes) -> ssl.SSLContext:
        """Of a client that trusts `roots` and shows this certificate."""
        context = ssl.create_default_context(cadata=roots.decode())
        context.load_cert_chain(self.write(path))
        return context
