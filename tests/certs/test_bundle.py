from __future__ import annotations

import ssl
import stat
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from certs.authority import CertificateAuthority
from certs.bundle import certificates, merged_bundle, write_bundle
from certs.issue import moment, new_key
from proxy.errors import BriefcaseError


def company_root(clock, name="Company") -> bytes:
    """A root of the operator's, as PEM."""
    key, subject = new_key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(moment(clock.now_ms)).not_valid_after(moment(clock.now_ms + 86_400_000))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def own_root(clock) -> bytes:
    return CertificateAuthority.ephemeral(patterns=(), clock=clock).bundle_pem()


def ders(pem: bytes) -> list[bytes]:
    return list(certificates(pem))


PUBLIC = ders(Path(certifi.where()).read_bytes())


def test_all_public_roots_are_read():
    assert len(PUBLIC) == Path(certifi.where()).read_bytes().count(b"-----BEGIN CERTIFICATE-----") > 100


def test_a_bundle_holds_the_public_roots_the_operators_and_ours_once_each(tmp_path, clock):
    ours, theirs, more = own_root(clock), company_root(clock), company_root(clock, "Lab")
    (tmp_path / "a.pem").write_bytes(b"# Company\r\n" + theirs.replace(b"\n", b"\r\n") + ours)
    (tmp_path / "b.pem").write_bytes(more + theirs + Path(certifi.where()).read_bytes())
    environment = {"SSL_CERT_FILE": str(tmp_path / "a.pem"), "REQUESTS_CA_BUNDLE": str(tmp_path / "b.pem")}
    merged = merged_bundle(ours, environment=environment)
    assert ders(merged) == [*PUBLIC, *ders(theirs), *ders(more), *ders(ours)]
    context = ssl.create_default_context(cadata=merged.decode())
    assert len(context.get_ca_certs()) >= len(PUBLIC)


def test_a_root_of_ours_that_was_dropped_does_not_come_back_from_an_older_bundle(tmp_path, clock):
    stolen, current = own_root(clock), own_root(clock)
    (tmp_path / "old.pem").write_bytes(merged_bundle(stolen, environment={}))
    merged = merged_bundle(current, environment={"SSL_CERT_FILE": str(tmp_path / "old.pem")})
    assert ders(merged) == [*PUBLIC, *ders(current)]


@pytest.mark.parametrize("name", ["", "missing.pem", "."])
def test_a_file_that_cannot_be_read_counts_as_empty(tmp_path, clock, name):
    ours = own_root(clock)
    environment = {"SSL_CERT_FILE": str(tmp_path / name) if name else ""}
    assert ders(merged_bundle(ours, environment=environment)) == [*PUBLIC, *ders(ours)]


def test_p1_only_certificates_are_taken_from_a_file(tmp_path, clock):
    key = new_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    theirs = company_root(clock)
    broken = b"-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n"
    (tmp_path / "mixed.pem").write_bytes(b"password: hunter2\n" + key + broken + theirs)
    merged = merged_bundle(b"", environment={"SSL_CERT_FILE": str(tmp_path / "mixed.pem")})
    assert ders(merged) == [*PUBLIC, *ders(theirs)]
    assert b"PRIVATE KEY" not in merged
    assert b"hunter2" not in merged
    assert key.splitlines()[1] not in merged


def test_a_bundle_is_replaced_as_a_whole_and_everyone_can_read_it(tmp_path):
    path = tmp_path / "bundle.pem"
    for content in (b"one", b"two"):
        write_bundle(path, content)
        assert path.read_bytes() == content
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle.pem"]
    with pytest.raises(BriefcaseError):
        write_bundle(tmp_path / "missing" / "bundle.pem", b"x")
