"""An operator's issuing CA, as `openssl` makes it."""

from __future__ import annotations

import shutil
import ssl
import subprocess

import pytest
from cryptography import x509

from certs.authority import CertificateAuthority
from certs.names import NotManagedError
from proxy.errors import BriefcaseError
from tests.certs.conftest import DAY_MS, handshake

HOST = "api.example.test"
pytestmark = pytest.mark.usefixtures("openssl")
CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
LINKED = CA + "authorityKeyIdentifier=keyid\n"


@pytest.fixture
def openssl():
    assert shutil.which("openssl"), "openssl is needed: apt-get install openssl"


class Workshop:
    """Keys and certificates of a company's PKI."""

    def __init__(self, folder):
        self.folder = folder

    def openssl(self, *words):
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True, timeout=20)

    def key(self, name, *, algorithm="EC", option="ec_paramgen_curve:P-256"):
        options = ["-pkeyopt", option] if option else []
        self.openssl("genpkey", "-algorithm", algorithm, *options, "-out", f"{name}.key")
        return self.read(f"{name}.key")

    def certificate(self, name, *, issuer=None, extensions=LINKED, days=30):
        (self.folder / "ext").write_text(extensions)
        self.openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/CN=Company {name}", "-out", f"{name}.csr")
        by = (
            ["-signkey", f"{name}.key"]
            if issuer is None
            else ["-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-CAcreateserial"]
        )
        self.openssl(
            "x509", "-req", "-in", f"{name}.csr", *by, "-days", str(days), "-extfile", "ext", "-out", f"{name}.pem"
        )
        return self.read(f"{name}.pem")

    def read(self, name):
        return (self.folder / name).read_bytes()


@pytest.fixture
def workshop(tmp_path):
    shop = Workshop(tmp_path)
    shop.key("root")
    shop.certificate("root", extensions=CA, days=365)
    return shop


@pytest.mark.parametrize(
    ("algorithm", "option", "digest"),
    [
        ("EC", "ec_paramgen_curve:P-256", "sha256"),
        ("EC", "ec_paramgen_curve:P-384", "sha384"),
        ("EC", "ec_paramgen_curve:P-521", "sha512"),
        ("RSA", "rsa_keygen_bits:2048", "sha256"),
    ],
)
def test_leaves_of_an_operators_ca_chain_to_the_companys_root(workshop, clock, algorithm, option, digest):
    key = workshop.key("issuing", algorithm=algorithm, option=option)
    root, issuing = workshop.read("root.pem"), workshop.certificate("issuing", issuer="root")
    clock.now_ms += 1000
    ca = CertificateAuthority.from_issuer(issuing + root, key, clock=clock, patterns=[HOST])
    assert ca.bundle_pem() == x509.load_pem_x509_certificate(root).public_bytes(ssl_pem())
    leaf = ca.leaf(HOST)
    assert leaf.chain == (x509.load_pem_x509_certificate(issuing),)
    assert leaf.cert.signature_hash_algorithm.name == digest
    handshake(leaf, root, HOST)
    assert [r.subject for r in ca.roots()] == ["CN=Company root"]


def ssl_pem():
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.PEM


def test_the_whole_chain_is_sent_but_not_the_root(workshop, clock):
    workshop.key("middle")
    key = workshop.key("issuing")
    middle = workshop.certificate("middle", issuer="root")
    issuing, root = workshop.certificate("issuing", issuer="middle"), workshop.read("root.pem")
    clock.now_ms += 1000
    with_root = CertificateAuthority.from_issuer(issuing + middle + root, key, clock=clock, patterns=[HOST])
    without = CertificateAuthority.from_issuer(issuing + middle, key, clock=clock, patterns=[HOST])
    assert without.bundle_pem() == b""
    assert without.fingerprint != with_root.fingerprint
    for ca in (with_root, without):
        assert len(ca.leaf(HOST).chain) == 2
        handshake(ca.leaf(HOST), root, HOST)
    short = CertificateAuthority.from_issuer(issuing, key, clock=clock, patterns=[HOST])
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(short.leaf(HOST), root, HOST)


def test_a_root_may_issue_directly(workshop, clock):
    clock.now_ms += 1000
    root = workshop.read("root.pem")
    ca = CertificateAuthority.from_issuer(root, workshop.read("root.key"), clock=clock, patterns=[HOST])
    assert ca.leaf(HOST).chain == ()
    handshake(ca.leaf(HOST), root, HOST)


def test_p5_patterns_bind_an_operators_ca_too(workshop, clock):
    clock.now_ms += 1000
    ca = CertificateAuthority.from_issuer(workshop.read("root.pem"), workshop.read("root.key"), clock=clock)
    with pytest.raises(NotManagedError):
        ca.leaf(HOST)
    ca.rehost([HOST])
    ca.leaf(HOST)
    with pytest.raises(BriefcaseError, match="operator"):
        ca.rotate()


def test_leaves_end_with_the_operators_ca(workshop, clock):
    key = workshop.key("issuing")
    issuing = workshop.certificate("issuing", issuer="root", days=2)
    clock.now_ms += 1000
    ca = CertificateAuthority.from_issuer(issuing, key, clock=clock, patterns=[HOST])
    clock.now_ms += 2 * DAY_MS - 10_000
    assert ca.leaf(HOST).not_after_ms <= clock.now_ms + 10_000
    clock.now_ms += 20_000
    with pytest.raises(BriefcaseError, match="expired"):
        ca.leaf(HOST)


NOT_A_CA = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
NO_SIGNING = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,cRLSign\n"
NO_USAGE = "basicConstraints=critical,CA:TRUE\n"
MAIL_ONLY = CA + "extendedKeyUsage=emailProtection\n"


@pytest.mark.parametrize(
    ("extensions", "message"),
    [(NOT_A_CA, "not a CA"), (NO_SIGNING, "not a CA"), (NO_USAGE, "does not say"), (MAIL_ONLY, "TLS servers")],
)
def test_p5_a_certificate_that_may_not_issue_is_refused(workshop, clock, extensions, message):
    key = workshop.key("issuing")
    issuing = workshop.certificate("issuing", issuer="root", extensions=extensions)
    clock.now_ms += 1000
    with pytest.raises(BriefcaseError, match=message):
        CertificateAuthority.from_issuer(issuing, key, clock=clock)


def test_p5_a_chain_that_is_not_one_is_refused(workshop, clock):
    workshop.key("flat")
    workshop.certificate("flat", extensions=CA.replace("CA:TRUE", "CA:TRUE,pathlen:0"))
    key, other_key = workshop.key("issuing"), workshop.key("other")
    other = workshop.certificate("other", issuer="root")
    by_root = workshop.certificate("issuing", issuer="root")
    by_other = workshop.certificate("issuing", issuer="other")
    clock.now_ms += 1000
    root, flat = workshop.read("root.pem"), workshop.read("flat.pem")
    for chain, chain_key, message in (
        (by_root + other, key, "issued by the one"),
        (root + by_root, workshop.read("root.key"), "issued by the one"),
        (by_root + flat, key, "pathlen"),
        (by_root + root, other_key, "does not belong"),
        (other + by_other, key, "does not belong"),
    ):
        with pytest.raises(BriefcaseError, match=message):
            CertificateAuthority.from_issuer(chain, chain_key, clock=clock)


@pytest.mark.parametrize("shift_ms", [-DAY_MS, 31 * DAY_MS])
def test_p5_a_certificate_that_is_not_valid_now_is_refused(workshop, clock, shift_ms):
    key = workshop.key("issuing")
    issuing = workshop.certificate("issuing", issuer="root")
    clock.now_ms += shift_ms
    with pytest.raises(BriefcaseError, match="not valid now"):
        CertificateAuthority.from_issuer(issuing, key, clock=clock)


@pytest.mark.parametrize(
    ("algorithm", "option"), [("RSA", "rsa_keygen_bits:1024"), ("ED25519", None), ("EC", "ec_paramgen_curve:secp256k1")]
)
def test_p5_a_weak_or_unusual_key_is_refused(workshop, clock, algorithm, option):
    key = workshop.key("issuing", algorithm=algorithm, option=option)
    issuing = workshop.certificate("issuing", issuer="root")
    with pytest.raises(BriefcaseError, match="must be ECDSA"):
        CertificateAuthority.from_issuer(issuing, key, clock=clock)


def test_p1_an_unreadable_key_is_refused_without_quoting_it(workshop, clock):
    workshop.openssl("pkey", "-in", "root.key", "-aes256", "-passout", "pass:secret", "-out", "locked.key")
    root = workshop.read("root.pem")
    key = workshop.read("root.key")
    for bad, message in (
        (workshop.read("locked.key"), "encrypted"),
        (b"", "not a PEM"),
        (key[:-60], "not a PEM"),
        (root, "not a PEM"),
    ):
        with pytest.raises(BriefcaseError, match=message) as caught:
            CertificateAuthority.from_issuer(root, bad, clock=clock)
        assert caught.value.__cause__ is None
        assert not any(line in str(caught.value) for line in key.decode().splitlines()[1:-1])
    for bad in (b"", b"junk", root[:-80]):
        with pytest.raises(BriefcaseError, match="issuer_certificate"):
            CertificateAuthority.from_issuer(bad, key, clock=clock)
