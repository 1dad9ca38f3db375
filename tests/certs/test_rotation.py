from __future__ import annotations

import ssl

import pytest
from cryptography import x509

from certs.authority import CertificateAuthority
from certs.issuers import OwnIssuer
from certs.names import ManagedHosts
from certs.roots import ROOT_LIFETIME_S, MemoryRoots, new_root, rotated, signing, trusted
from proxy.errors import BriefcaseError
from tests.certs.conftest import DAY_MS, HOUR_MS, handshake

HOST = "api.example.test"
WEEK_MS = 7 * DAY_MS


def own(clock):
    """As `load_or_create` puts it together, but for the disk."""
    store = MemoryRoots((new_root(clock.now_ms, lifetime_s=ROOT_LIFETIME_S),))
    source = OwnIssuer(store, root_lifetime_s=ROOT_LIFETIME_S, clock=clock)
    return CertificateAuthority(source=source, hosts=ManagedHosts.of([HOST]), clock=clock)


@pytest.fixture
def ca(clock):
    return own(clock)


def issued_by(leaf, bundle):
    """Which root of the bundle a leaf's chain ends at."""
    for root in x509.load_pem_x509_certificates(bundle):
        if leaf.chain[-1].issuer == root.subject:
            return root
    return None


@pytest.mark.parametrize(
    ("after_ms", "signer", "in_bundle"),
    [
        (0, "old", {"old", "new"}),
        (WEEK_MS // 2 - 1, "old", {"old", "new"}),
        (WEEK_MS // 2, "new", {"old", "new"}),
        (WEEK_MS - 1, "new", {"old", "new"}),
        (WEEK_MS, "new", {"new"}),
        (100 * DAY_MS, "new", {"new"}),
    ],
)
def test_who_signs_and_who_is_trusted_during_a_rotation(clock, after_ms, signer, in_bundle):
    old = new_root(clock.now_ms, lifetime_s=ROOT_LIFETIME_S)
    new = new_root(clock.now_ms, lifetime_s=ROOT_LIFETIME_S)
    names = {old.certificate: "old", new.certificate: "new"}
    roots = rotated((old,), new, clock.now_ms, overlap_s=WEEK_MS // 1000)
    at_ms = clock.now_ms + after_ms
    assert names[signing(roots, at_ms).certificate] == signer
    assert {names[root.certificate] for root in trusted(roots, at_ms)} == in_bundle


def test_an_agent_with_the_overlapping_bundle_never_notices(clock):
    now_ms = clock.now_ms
    clock.now_ms -= 4 * DAY_MS  # real clients know the real time only, so the rotation begins in the past
    ca = own(clock)
    ca.rotate()
    bundle, old_leaf = ca.bundle_pem(), ca.leaf(HOST)
    assert bundle.count(b"BEGIN CERTIFICATE") == 2
    clock.now_ms = now_ms - 13 * HOUR_MS
    late_old_leaf = ca.leaf(HOST)
    assert issued_by(late_old_leaf, bundle) == issued_by(old_leaf, bundle)
    clock.now_ms = now_ms
    new_leaf = ca.leaf(HOST)
    assert issued_by(new_leaf, bundle) != issued_by(old_leaf, bundle)
    for leaf in (late_old_leaf, new_leaf):
        handshake(leaf, bundle, HOST)


def test_the_new_root_alone_is_trusted_in_the_end(ca, clock):
    before = ca.bundle_pem()
    ca.rotate()
    clock.now_ms += WEEK_MS
    after = ca.bundle_pem()
    assert after.count(b"BEGIN CERTIFICATE") == 1
    assert after != before
    assert issued_by(ca.leaf(HOST), before) is None
    assert issued_by(ca.leaf(HOST), after) is not None


def test_without_overlap_the_old_root_is_dropped_at_once(ca):
    old_bundle, old_leaf = ca.bundle_pem(), ca.leaf(HOST)
    ca.rotate(overlap_s=0)
    new_leaf = ca.leaf(HOST)
    assert new_leaf is not old_leaf
    handshake(new_leaf, ca.bundle_pem(), HOST)
    for leaf, bundle in ((old_leaf, ca.bundle_pem()), (new_leaf, old_bundle)):
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(leaf, bundle, HOST)


def test_one_rotation_at_a_time_unless_the_old_roots_go_at_once(ca, clock):
    ca.rotate()
    with pytest.raises(BriefcaseError, match="under way"):
        ca.rotate()
    with pytest.raises(BriefcaseError, match="negative"):
        ca.rotate(overlap_s=-1)
    clock.now_ms += WEEK_MS
    ca.rotate()
    ca.rotate(overlap_s=0)
    assert ca.bundle_pem().count(b"BEGIN CERTIFICATE") == 1


def test_what_is_shown_of_a_rotation(ca, clock):
    started_ms, first = clock.now_ms, ca.fingerprint
    assert [root.state for root in ca.roots()] == ["signing"]
    ca.rotate()
    assert [root.state for root in ca.roots()] == ["signing", "next"]
    assert [root.trusted_until_ms for root in ca.roots()] == [started_ms + WEEK_MS, None]
    assert ca.roots()[1].signs_from_ms == started_ms + WEEK_MS // 2
    assert ca.fingerprint == first
    clock.now_ms += WEEK_MS // 2
    assert [root.state for root in ca.roots()] == ["retiring", "signing"]
    assert ca.fingerprint == ca.roots()[1].fingerprint != first
