"""Published vectors, and SigV4A against a verifier of our own.

The AWS signing test suite (aws-c-auth, aws-signing-test-suite): key AKIDEXAMPLE, service `service`, region us-east-1,
2015-08-30T12:36:00Z, host example.amazonaws.com. The S3 ones are in the Amazon S3 API reference, "Authenticating requests".
"""

from __future__ import annotations

import calendar
import hashlib

import pytest

from proxy.aws.signing import EMPTY, UNSIGNED, Keys, Scope, Unsigned, sign_headers, sign_query
from tests.fakes.aws_verifier import Verifier
from tests.rig.provider import Seen

AT_S = calendar.timegm((2015, 8, 30, 12, 36, 0))
KEYS = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SCOPE = Scope("service", "us-east-1")
S3_KEYS, S3_AT_S = (
    Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    calendar.timegm((2013, 5, 24, 0, 0, 0)),
)
FORM = "application/x-www-form-urlencoded"
SUITE = {
    ("GET", "/", "", ""): "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ("POST", "/", "", ""): "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    (
        "GET",
        "/?Param2=value2&Param1=value1",
        "",
        "",
    ): "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ("POST", "/?Param1=value1", "", ""): "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    ("POST", "/", FORM, "Param1=value1"): "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
}


def signature(headers):
    return dict(headers)["authorization"].rpartition("Signature=")[2]


@pytest.mark.parametrize(("request_", "wanted"), SUITE.items(), ids=[f"{m} {t} {b}" for m, t, _, b in SUITE])
def test_the_signing_suite(request_, wanted):
    method, target, kind, body = request_
    headers = (("content-type", kind),) if kind else ()
    unsigned = Unsigned(method, "example.amazonaws.com", target, headers)
    assert (
        signature(sign_headers(unsigned, KEYS, SCOPE, payload=hashlib.sha256(body.encode()).hexdigest(), at_s=AT_S))
        == wanted
    )


def test_the_examples_of_s3():
    host, scope = "examplebucket.s3.amazonaws.com", Scope("s3", "us-east-1")
    lifecycle = sign_headers(Unsigned("GET", host, "/?lifecycle"), S3_KEYS, scope, payload=EMPTY, at_s=S3_AT_S)
    assert signature(lifecycle) == "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    listing = Unsigned("GET", host, "/?max-keys=2&prefix=J")
    assert (
        signature(sign_headers(listing, S3_KEYS, scope, payload=EMPTY, at_s=S3_AT_S))
        == "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    )
    presigned = sign_query(
        Unsigned("GET", host, "/test.txt"), S3_KEYS, scope, payload=UNSIGNED, at_s=S3_AT_S, expires_s=86400
    )
    assert presigned.endswith("X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")


@pytest.mark.parametrize("query", [False, True])
def test_sigv4a_verifies_with_a_key_that_is_derived_elsewhere(query):
    import time

    keys = Keys("AKIATESTTESTTESTTEST", "secret", "TOKEN")
    unsigned = Unsigned(
        "PUT", "b.mrap.accesspoint.s3-global.amazonaws.com", "/a%20b?x=%2F", (("x-amz-acl", "private"),)
    )
    scope, body = Scope("s3", "us-east-1,us-west-2", asymmetric=True), hashlib.sha256(b"miau").hexdigest()
    target, headers = unsigned.target, unsigned.headers
    if query:
        target = sign_query(unsigned, keys, scope, payload=UNSIGNED, at_s=time.time(), expires_s=60)
    else:
        headers = sign_headers(unsigned, keys, scope, payload=body, at_s=time.time())
    seen = Seen("PUT", target, [("host", unsigned.host), *headers], b"", b"miau")
    verifier = Verifier({keys.access_key_id: keys.secret_access_key}, {keys.access_key_id: "TOKEN"})
    assert verifier.judge(seen) is None
    seen.headers = [(n, "public" if n == "x-amz-acl" else v) for n, v in seen.headers]
    assert verifier.judge(seen) == "SignatureDoesNotMatch"
