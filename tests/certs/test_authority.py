from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.authority import CertificateAuthority
from certs.issue import not_after_ms, not_before_ms
from certs.leaf import MAX_LEAVES, Leaves
from certs.names import NotManagedError
from proxy.errors import BriefcaseError
from proxy.secret import Secret
from tests.certs.conftest import DAY_MS, HOUR_MS

PATTERNS = ("api.example.test", "*.wild.test", "127.0.0.1", "::1")


def ephemeral(clock, *patterns):
    return CertificateAuthority.ephemeral(patterns=patterns or PATTERNS, clock=clock)


def persistent(tmp_path, clock):
    passphrase = Secret("passphrase", b"p" * 44)
    return CertificateAuthority.load_or_create(tmp_path / "ca", patterns=PATTERNS, passphrase=passphrase, clock=clock)


def extension(cert, kind):
    found = cert.extensions.get_extension_for_class(kind)
    return found.value, found.critical


def root_of(ca):
    return x509.load_pem_x509_certificate(ca.bundle_pem())


def test_a_leaf_says_one_host_and_nothing_more(clock):
    ca = ephemeral(clock)
    leaf = ca.leaf("api.example.test")
    (san, san_critical) = extension(leaf.cert, x509.SubjectAlternativeName)
    assert list(san) == [x509.DNSName("api.example.test")]
    assert not san_critical
    assert "api.example.test" not in leaf.cert.subject.rfc4514_string()
    assert extension(leaf.cert, x509.BasicConstraints) == (x509.BasicConstraints(False, None), True)
    usage, critical = extension(leaf.cert, x509.KeyUsage)
    assert critical
    assert usage.digital_signature
    assert not usage.key_cert_sign
    assert list(extension(leaf.cert, x509.ExtendedKeyUsage)[0]) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert isinstance(leaf.key.curve, ec.SECP256R1)
    assert leaf.key.public_key() == leaf.cert.public_key()
    assert leaf.cert.serial_number.bit_length() > 64


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_leaf_for_an_address_has_it_in_the_san(clock, host):
    san, _ = extension(ephemeral(clock).leaf(host).cert, x509.SubjectAlternativeName)
    assert list(san) == [x509.IPAddress(ipaddress.ip_address(host))]


def test_the_intermediate_is_constrained_and_the_chain_is_linked(clock):
    ca = ephemeral(clock)
    leaf = ca.leaf("api.example.test")
    (intermediate,) = leaf.chain
    root = root_of(ca)
    leaf.cert.verify_directly_issued_by(intermediate)
    intermediate.verify_directly_issued_by(root)
    assert extension(root, x509.BasicConstraints) == (x509.BasicConstraints(True, 1), True)
    assert extension(intermediate, x509.BasicConstraints) == (x509.BasicConstraints(True, 0), True)
    constraints, critical = extension(intermediate, x509.NameConstraints)
    assert critical
    assert x509.DNSName("api.example.test") in constraints.permitted_subtrees
    assert list(extension(intermediate, x509.ExtendedKeyUsage)[0]) == [ExtendedKeyUsageOID.SERVER_AUTH]
    for below, above in ((leaf.cert, intermediate), (intermediate, root)):
        ours, _ = extension(below, x509.AuthorityKeyIdentifier)
        theirs, _ = extension(above, x509.SubjectKeyIdentifier)
        assert ours.key_identifier == theirs.digest
    keys = {cert.public_key().public_numbers() for cert in (leaf.cert, intermediate, root)}
    assert len(keys) == 3


@pytest.mark.parametrize(
    "host", ["example.test", "other.test", "*.wild.test", "a.b.wild.test", "127.0.0.2", "", "API.example.test"]
)
def test_p5_no_leaf_for_a_host_that_is_not_managed(clock, host):
    with pytest.raises(NotManagedError) as caught:
        ephemeral(clock).leaf(host)
    assert isinstance(caught.value, BriefcaseError)
    if host:
        assert host not in str(caught.value)


def test_p5_no_leaf_without_patterns(clock):
    ca = CertificateAuthority.ephemeral(patterns=(), clock=clock)
    with pytest.raises(NotManagedError):
        ca.leaf("api.example.test")


@pytest.mark.parametrize(
    ("make", "root_days", "intermediate_days"),
    [(lambda c, _: ephemeral(c), 2, 2), (lambda c, p: persistent(p, c), 3650, 7)],
)
def test_lifetimes(clock, tmp_path, make, root_days, intermediate_days):
    ca = make(clock, tmp_path)
    leaf = ca.leaf("api.example.test")
    now_s = clock.now_ms // 1000 * 1000
    for cert, days in ((root_of(ca), root_days), (leaf.chain[0], intermediate_days), (leaf.cert, 1)):
        assert not_after_ms(cert) == now_s + days * DAY_MS
        assert not_before_ms(cert) == now_s - 300_000
    assert not_after_ms(leaf.cert) <= leaf.not_after_ms < not_after_ms(leaf.cert) + 1000


@pytest.mark.parametrize(
    ("after_ms", "same"),
    [(0, True), (12 * HOUR_MS - 1, True), (12 * HOUR_MS, False), (30 * HOUR_MS, False), (-299_000, True)],
)
def test_a_leaf_is_the_same_object_until_half_of_its_life_is_over(tmp_path, clock, after_ms, same):
    ca = persistent(tmp_path, clock)
    first = ca.leaf("api.example.test")
    clock.now_ms += after_ms
    assert (ca.leaf("api.example.test") is first) is same


def test_p5_nothing_is_issued_when_the_clock_stands_before_the_root(tmp_path, clock):
    ca = persistent(tmp_path, clock)
    ca.leaf("api.example.test")
    clock.now_ms -= 301_000
    with pytest.raises(BriefcaseError, match="clock"):
        ca.leaf("api.example.test")


def test_the_intermediate_is_renewed_at_half_life_below_the_same_root(tmp_path, clock):
    ca = persistent(tmp_path, clock)
    first, bundle = ca.leaf("api.example.test"), ca.bundle_pem()
    clock.now_ms += 84 * HOUR_MS - 1
    assert ca.leaf("api.example.test").chain == first.chain
    clock.now_ms += 1
    renewed = ca.leaf("api.example.test")
    assert renewed.chain != first.chain
    assert ca.bundle_pem() == bundle
    renewed.chain[0].verify_directly_issued_by(root_of(ca))


def test_nothing_outlives_the_root_and_nothing_is_issued_after_it(clock):
    ca = ephemeral(clock)
    end_ms = clock.now_ms + 2 * DAY_MS
    clock.now_ms = end_ms - HOUR_MS
    leaf = ca.leaf("api.example.test")
    assert leaf.not_after_ms == not_after_ms(root_of(ca))
    clock.now_ms += HOUR_MS // 2
    assert ca.leaf("api.example.test") is leaf  # a new one would not last longer
    clock.now_ms = end_ms
    with pytest.raises(BriefcaseError, match="expired"):
        ca.leaf("api.example.test")


def test_rehost_changes_what_is_managed_and_keeps_the_root(clock):
    ca = ephemeral(clock, "old.test", "both.test")
    bundle, old = ca.bundle_pem(), ca.leaf("both.test")
    ca.leaf("old.test")
    ca.rehost(["both.test", "new.test"])
    with pytest.raises(NotManagedError):
        ca.leaf("old.test")
    assert ca.leaf("both.test") is not old
    constraints, _ = extension(ca.leaf("new.test").chain[0], x509.NameConstraints)
    assert constraints.permitted_subtrees == [x509.DNSName("both.test"), x509.DNSName("new.test")]
    assert ca.bundle_pem() == bundle


def test_rehost_to_the_same_hosts_keeps_the_leaves(clock):
    ca = ephemeral(clock)
    leaf = ca.leaf("api.example.test")
    ca.rehost(reversed(PATTERNS))
    assert ca.leaf("api.example.test") is leaf


def test_p5_rehost_with_a_bad_pattern_changes_nothing(clock):
    ca = ephemeral(clock)
    leaf = ca.leaf("api.example.test")
    with pytest.raises(BriefcaseError):
        ca.rehost(["new.test", "*"])
    assert ca.leaf("api.example.test") is leaf
    with pytest.raises(NotManagedError):
        ca.leaf("new.test")


def test_p7_leaves_have_a_ceiling_and_the_least_used_goes_first(clock):
    issuer = ephemeral(clock)._source.issuer(ephemeral(clock)._hosts)
    leaves = Leaves(capacity=3)
    a, b, _ = (leaves.get(host, issuer, clock.now_ms) for host in "abc")
    assert leaves.get("a", issuer, clock.now_ms) is a
    leaves.get("d", issuer, clock.now_ms)
    assert len(leaves) == 3
    assert leaves.get("a", issuer, clock.now_ms) is a
    assert leaves.get("b", issuer, clock.now_ms) is not b


def test_p7_a_flood_of_names_below_a_wildcard_stays_below_the_ceiling(clock):
    ca = ephemeral(clock, "*.wild.test")
    first = ca.leaf("first.wild.test")
    for number in range(MAX_LEAVES):
        ca.leaf(f"n{number}.wild.test")
    assert len(ca._leaves) == MAX_LEAVES == 1024
    assert ca.leaf("first.wild.test") is not first
