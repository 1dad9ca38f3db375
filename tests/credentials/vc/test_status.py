"""Status lists: the numbers of the specifications, packing by other code, and lists that nobody should believe."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.credentials.vc.jose import BadTokenError, parse
from proxy.credentials.vc.status import (
    MAX_LIST_BYTES,
    StatusRef,
    StatusUnknownError,
    bitstring_status,
    inflated,
    refs_in,
    status_in,
    token_status,
)
from tests.fakes.credential_issuer import Issuer, b64, b64_decoded, least_first

URI = "https://issuer.example.test/status/1"
ZLIB, GZIP = 15, 31
# Token Status List, sections 4.1 and 4.2: the two examples.
ONE_BIT = ([1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1], "b9a3", "eNrbuRgAAhcBXQ")
TWO_BITS = ([1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3], "c944f9", "eNo76fITAAPfAgc")


@pytest.mark.parametrize(("bits", "example"), [(1, ONE_BIT), (2, TWO_BITS)])
def test_the_specifications_examples(bits, example):
    values, packed, text = example
    assert inflated(text, ZLIB).hex() == packed
    assert [token_status(bytes.fromhex(packed), bits, index) for index in range(len(values))] == values


@given(st.sampled_from([1, 2, 4, 8]), st.lists(st.integers(0, 255), min_size=1, max_size=64))
def test_every_entry_comes_back_least_significant_first(bits, values):
    values = [value % (1 << bits) for value in values]
    raw = least_first(values, bits)
    assert [token_status(raw, bits, index) for index in range(len(values))] == values
    with pytest.raises(BadTokenError):
        token_status(raw, bits, len(raw) * (8 // bits))


@given(st.integers(1, 8), st.integers(0, 16_000), st.data())
def test_every_entry_of_a_bitstring_comes_back_most_significant_first(size, index, data):
    value = data.draw(st.integers(0, (1 << size) - 1))
    text = list("0" * 131_072)
    text[index * size : index * size + size] = format(value, f"0{size}b")
    raw = int("".join(text), 2).to_bytes(16_384, "big")
    assert bitstring_status(raw, size, index) == value
    assert bitstring_status(raw, size, index + 1) == 0


def test_p5_a_bitstring_that_is_too_short_or_too_short_for_the_index():
    with pytest.raises(BadTokenError):
        bitstring_status(bytes(16_383), 1, 0)
    with pytest.raises(BadTokenError):
        bitstring_status(bytes(16_384), 1, 131_072)
    with pytest.raises(BadTokenError):
        bitstring_status(bytes(16_384), 8, 16_384)


@pytest.mark.parametrize("form", ["zlib", "gzip"])
def test_p7_a_list_that_inflates_without_end_is_refused(form):
    pack, window = (zlib.compress, ZLIB) if form == "zlib" else (gzip.compress, GZIP)
    assert len(inflated(b64(pack(bytes(MAX_LIST_BYTES))), window)) == MAX_LIST_BYTES
    for bad in (pack(bytes(MAX_LIST_BYTES + 1)), pack(b"x" * 1000)[:-6], b"nonsense", b""):
        with pytest.raises(BadTokenError):
            inflated(b64(bad), window)


STATUS = {"status_list": {"idx": 3, "uri": URI}}
ENTRY = {"type": "BitstringStatusListEntry", "statusPurpose": "revocation", "statusListIndex": "94567",
         "statusListCredential": URI}  # fmt: skip


def test_what_a_credential_refers_to():
    assert refs_in({}) == ()
    assert refs_in({"status": STATUS}) == (StatusRef(URI, 3, "statuslist+jwt"),)
    both = {"credentialStatus": [ENTRY, {**ENTRY, "statusPurpose": "suspension", "statusSize": 2}]}
    assert refs_in(both) == (
        StatusRef(URI, 94567, "vc+jwt", 1, "revocation"),
        StatusRef(URI, 94567, "vc+jwt", 2, "suspension"),
    )


@pytest.mark.parametrize(
    "claims",
    [
        {"status": {}}, {"status": "x"}, {"status": {"status_list": {"idx": -1, "uri": URI}}},
        {"status": {"status_list": {"idx": True, "uri": URI}}}, {"status": {"other": {}}},
        {"credentialStatus": {**ENTRY, "type": "Other"}}, {"credentialStatus": {**ENTRY, "statusListIndex": 5}},
        {"credentialStatus": {**ENTRY, "statusListIndex": "٣"}}, {"credentialStatus": {**ENTRY, "statusSize": 9}},
        {"credentialStatus": {**ENTRY, "statusPurpose": "message"}}, {"credentialStatus": "x"},
    ],
)  # fmt: skip
def test_p5_a_status_that_is_not_understood_is_refused(claims):
    with pytest.raises(BadTokenError):
        refs_in(claims)


def test_a_list_says_what_it_says_for_its_time():
    issuer = Issuer()
    token = parse(issuer.token_status_list(URI, [0, 0, 0, 2], bits=2), ("statuslist+jwt",))
    now = int(token.claims["iat"]) + 5
    assert status_in(token, StatusRef(URI, 3, "statuslist+jwt"), now) == (2, now + 60)
    assert status_in(token, StatusRef(URI, 0, "statuslist+jwt"), now + 590) == (0, now + 600)
    bits = parse(issuer.bitstring(URI, {94567}), ("vc+jwt",))
    assert status_in(bits, StatusRef(URI, 94567, "vc+jwt", 1, "revocation"), now) == (1, now + 300)
    assert status_in(bits, StatusRef(URI, 94566, "vc+jwt", 1, "revocation"), now)[0] == 0


def test_a_bitstring_is_believed_as_long_as_it_says():
    issuer, ref = Issuer(), StatusRef(URI, 0, "vc+jwt", 1, "suspension")
    subject = json.loads(b64_decoded(issuer.bitstring(URI, set()).split(".")[1]))["credentialSubject"]
    subject |= {"statusPurpose": ["revocation", "suspension"], "ttl": 20_000}  # in milliseconds
    token = parse(issuer.bitstring(URI, set(), credentialSubject=subject), ("vc+jwt",))
    assert status_in(token, ref, 1_800_000_000) == (0, 1_800_000_020)
    token = parse(
        issuer.bitstring(URI, set(), credentialSubject=subject, validUntil="2027-01-15T08:00:10Z"), ("vc+jwt",)
    )
    assert status_in(token, ref, 1_800_000_000) == (0, 1_800_000_010)


@pytest.mark.parametrize(
    "changed",
    [{"sub": URI + "/"}, {"sub": None}, {"exp": 1}, {"iat": None}, {"iat": 2**40}, {"ttl": "x"}, {"status_list": {}},
     {"status_list": {"bits": 3, "lst": ONE_BIT[2]}}, {"status_list": {"bits": 1, "lst": "!"}},
     {"status_list": {"bits": 1.0, "lst": ONE_BIT[2]}}],
)  # fmt: skip
def test_p5_a_list_that_must_not_be_believed(changed):
    issuer = Issuer()
    token = parse(issuer.token_status_list(URI, [0] * 8, **changed), ("statuslist+jwt",))
    with pytest.raises(StatusUnknownError):
        status_in(token, StatusRef(URI, 0, "statuslist+jwt"), _now())


@pytest.mark.parametrize(
    "changed",
    [{"id": "https://other.test/"}, {"credentialSubject": []}, {"exp": 1}, {"validUntil": "2024-01-01T00:00:00Z"},
     {"validFrom": "2999-01-01T00:00:00Z"}, {"validUntil": "soon"}, {"type": ["VerifiableCredential"]}],
)  # fmt: skip
def test_p5_a_bitstring_that_must_not_be_believed(changed):
    ref = StatusRef(URI, 0, "vc+jwt", 1, "revocation")
    assert status_in(parse(Issuer().bitstring(URI, set()), ("vc+jwt",)), ref, _now())[0] == 0
    with pytest.raises(StatusUnknownError):
        status_in(parse(Issuer().bitstring(URI, set(), **changed), ("vc+jwt",)), ref, _now())


def test_p5_a_list_of_revoked_credentials_says_nothing_about_suspended_ones():
    token = parse(Issuer().bitstring(URI, set()), ("vc+jwt",))
    with pytest.raises(StatusUnknownError):
        status_in(token, StatusRef(URI, 0, "vc+jwt", 1, "suspension"), _now())


def _now():
    import time

    return int(time.time())
