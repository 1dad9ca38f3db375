"""X.509-SVIDs as certificates, without a connection: what is one, and what its ID may look like (P5, H-06)."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxy.canonical import parse_spiffe_id
from proxy.identity.directory import Directory
from proxy.identity.svid import Svid, SvidProof, read_svid
from tests.rig.svids import TrustDomain

DOMAIN = TrustDomain()
ID = "spiffe://example.org/agents/coder"


@pytest.mark.parametrize("text", [ID, "spiffe://a/b", "spiffe://a_b.c-1/..a/A.z", "spiffe://a/" + "x" * 2036])
def test_a_spiffe_id_is_written_one_way(text):
    assert str(parse_spiffe_id(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "spiffe://", "spiffe://example.org", "spiffe://example.org/", f"{ID}/", "spiffe://example.org//a",
        "spiffe://example.org/./a", "spiffe://example.org/a/..", "spiffe://example.org/..", "SPIFFE://example.org/a",
        "spiffe://Example.org/a", "spiffe://example.org:443/a", "spiffe://u@example.org/a", f"{ID}?q", f"{ID}#f",
        "spiffe://example.org/a%20b", "spiffe://example.org/ä", "spiffe://ex%61mple.org/a", "https://example.org/a",
        f"{ID}\n", f" {ID}", "spiffe://" + "a" * 256 + "/a", "spiffe://a/" + "x" * 2038, "spiffe://a/b~c",
    ],
)  # fmt: skip
def test_p5_what_is_no_spiffe_id_is_nobodys(text):
    assert parse_spiffe_id(text) is None


def test_an_svid_says_whose_it_is_and_until_when():
    made = DOMAIN.svid(ID)
    until = made.certificate.not_valid_after_utc
    assert read_svid(made.der, "a" * 64) == Svid(parse_spiffe_id(ID), "a" * 64, int(until.timestamp() * 1000))


def test_an_svid_ends_with_the_first_certificate_that_it_rests_on():
    made, soon = DOMAIN.svid(ID), DOMAIN.svid(ID, life=dt.timedelta(minutes=1))
    found = read_svid(made.der, "", [soon.der, DOMAIN.svid(ID).der])
    assert found.until_ms == int(soon.certificate.not_valid_after_utc.timestamp() * 1000)


@pytest.mark.parametrize(
    ("uris", "changed", "told"),
    [
        ((), {}, "no SPIFFE ID"),
        ((ID, "spiffe://example.org/other"), {}, "2 URIs"),
        ((ID, ID), {}, "2 URIs"),
        ((ID, "https://example.org/"), {}, "2 URIs"),
        (("https://example.org/agents/coder",), {}, "not the SPIFFE ID"),
        (("spiffe://example.org",), {}, "not the SPIFFE ID"),
        (("spiffe://example.org/a/../b",), {}, "not the SPIFFE ID"),
        ((ID,), {"ca": True}, "a CA's"),
        ((ID,), {"usages": None}, "key usage"),
        ((ID,), {"usages": ("key_agreement",)}, "not for signatures"),
        ((ID,), {"critical": False}, "not critical"),
        ((ID,), {"usages": ("digital_signature", "key_cert_sign")}, "may sign"),
        ((ID,), {"usages": ("digital_signature", "crl_sign")}, "may sign"),
    ],
)
def test_p5_what_is_no_svid_of_a_workload_says_why(uris, changed, told):
    assert told in read_svid(DOMAIN.svid(*uris, **changed).der, "")


def test_p5_bytes_that_are_no_certificate_are_none():
    der = DOMAIN.svid(ID).der
    for wrong in (b"", b"\x30\x00", der[:-1], der[:200], der[::-1]):
        assert "not well-formed" in read_svid(wrong, "")


def test_further_purposes_do_not_matter():
    assert isinstance(read_svid(DOMAIN.svid(ID, purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,)).der, ""), Svid)


def test_p6_a_proof_holds_in_time_while_the_ca_and_the_agent_are_the_same():
    svid = read_svid(DOMAIN.svid(ID, life=dt.timedelta(minutes=5)).der, "")
    assert isinstance(svid, Svid)
    directory, trusted = Directory(spiffe={ID: "coder"}), True

    def holds(now_ms=svid.until_ms - 1):
        return SvidProof(svid, "coder", lambda: directory, lambda _: trusted).holds(now_ms)

    assert holds()
    assert not holds(svid.until_ms)
    trusted = False
    assert not holds()
    trusted, directory = True, Directory(spiffe={ID: "other"})
    assert not holds()
