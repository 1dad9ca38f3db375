"""A verifier's, or an issuer's, key with a certificate below a root."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwcrypto.jwk import JWK


class Certified:
    """A verifier's key with a certificate below a root."""

    def __init__(self, name: str = "api.example.test", *, beside: Certified | None = None) -> None:
        if beside is None:
            self.root_key, self.root = self._certificate("Verifiers", None, None, None)
        else:
            self.root_key, self.root = beside.root_key, beside.root
        leaf_key, self.leaf = self._certificate(name, name, self.root_key, self.root)
        pem = leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.key = JWK.from_pem(pem)
        self.x5c = [base64.b64encode(self.leaf.public_bytes(serialization.Encoding.DER)).decode()]

    @property
    def hash(self) -> str:
        digest = hashlib.sha256(self.leaf.public_bytes(serialization.Encoding.DER)).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    @staticmethod
    def _certificate(subject, dns, issuer_key, issuer):
        made = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer.subject if issuer else name)
            .public_key(made.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=dns is None, path_length=None), critical=True)
        )
        signer = issuer_key or made
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        if dns is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), critical=False)
        else:
            builder = builder.add_extension(
                x509.SubjectKeyIdentifier.from_public_key(made.public_key()), critical=False
            ).add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
        return made, builder.sign(signer, hashes.SHA256())
