"""Client certificates: a CA, and PEM files with key and certificate as an account names them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)
USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
    "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass
class ClientCa:
    """Issues certificates for clients; `pem` is its own."""

    name: str = "clients"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def pem(self) -> bytes:
        made = self._builder(self.name, self.key.public_key(), NOW - DAY, NOW + DAY)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        usage = dict.fromkeys(USAGES, False) | {"key_cert_sign": True}
        made = made.add_extension(x509.KeyUsage(**usage), critical=True)
        return made.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def _builder(
        self, subject: str, key: ec.EllipticCurvePublicKey, since: dt.datetime, until: dt.datetime
    ) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(named(subject)).issuer_name(named(self.name)).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        return builder.not_valid_before(since).not_valid_after(until)

    def issue(self, path: Path, subject: str, *, until: dt.datetime | None = None, key: object = None) -> str:
        """Write PEM of a new key and its certificate to `path`; the ref to it. `key`: one that does not fit."""
        own = ec.generate_private_key(ec.SECP256R1())
        made = self._builder(subject, own.public_key(), NOW - 2 * DAY, until or NOW + DAY)
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        private = (key or own).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(private + made.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM))
        path.chmod(0o600)
        return f"file:{path}"
