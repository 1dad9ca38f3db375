"""DPoP against the numbers of RFC 9449 and RFC 7638, and against another library's verifier."""

from __future__ import annotations

import asyncio
import time

import orjson
import pytest
from jwskate import Jwk
from requests_oauth2client.dpop import validate_dpop_proof

from proxy.credentials.oauth import dpop
from proxy.credentials.oauth.lessons import MORE_SCOPE, STEP_UP, lesson
from proxy.keys import software
from proxy.keys.public import PublicKey, base64url
from proxy.model import Authority, RequestHead, ResponseHead

# RFC 9449, sections 4.1, 6.1 and 7.1
KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
    "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
}
JKT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
TOKEN = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
ATH = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"


def finished(generator, signer):
    answer = None
    while True:
        try:
            step = generator.send(answer)
        except StopIteration as ended:
            return ended.value
        answer = asyncio.run(signer.sign(step.message))


def made(algorithm="ES256", **more):
    signer = software.generate(algorithm)
    proven = dpop.Proven(
        **{"method": "POST", "url": "https://server.example.com/token", "now_s": 1_562_262_616, **more}
    )
    return signer, finished(dpop.proof(signer.public, proven), signer)


def test_the_numbers_of_rfc_9449():
    assert PublicKey("ES256", KEY).thumbprint == JKT
    assert dpop.token_hash(TOKEN) == ATH


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "EdDSA", "Ed25519"])
def test_another_library_takes_the_proof(algorithm):
    nonce, now_s = "eyJ7S_zG.eyJH0-Z.HX4w-7v", int(time.time())
    signer, proof = made(algorithm, token=TOKEN, nonce=nonce, now_s=now_s)
    at = {"htm": "POST", "htu": "https://server.example.com/token"}
    if algorithm != "Ed25519":  # the library knows this key by its older name only (RFC 9864)
        read = validate_dpop_proof(proof, **at, ath=ATH, nonce=nonce, algs=[algorithm])
        assert read.claims["iat"] == now_s
    header, claims = (orjson.loads(dpop.from_base64url(part)) for part in proof.split(".")[:2])
    assert header == {"typ": "dpop+jwt", "alg": algorithm, "jwk": dict(signer.public.jwk)}
    assert "d" not in header["jwk"]
    assert len(dpop.from_base64url(claims["jti"])) * 8 >= 96
    assert Jwk(header["jwk"]).thumbprint() == signer.public.thumbprint
    assert made(algorithm)[1] != made(algorithm)[1]


@pytest.mark.parametrize(
    ("url", "htu"),
    [
        ("https://server.example.com/token", "https://server.example.com/token"),
        ("https://SERVER.example.COM:443/token?a=b", "https://server.example.com/token"),
        ("https://server.example.com:8443/t/%7Ex?a=/b", "https://server.example.com:8443/t/%7Ex"),
        ("https://server.example.com", "https://server.example.com/"),
        ("https://server.example.com?a=b/c", "https://server.example.com/"),
    ],
)
def test_htu_has_no_query_no_default_port_and_a_lower_case_host(url, htu):
    assert dpop.target_of(url) == htu


def test_htu_of_what_leaves():
    assert dpop.target_uri("https", Authority("api.example.com", 443), "/a/~b") == "https://api.example.com/a/~b"
    assert dpop.target_uri("https", Authority("2001:db8::1", 8443), "/") == "https://[2001:db8::1]:8443/"


@pytest.mark.parametrize("nonce", ["", "a b", 'a"b', "a\\b", "a\x7f", "é", "x" * 513, None])
def test_what_is_no_nonce_is_not_repeated(nonce):
    assert dpop.nonce_of(nonce) is None


def jwt(claims, header=None):
    return ".".join(base64url(orjson.dumps(part)) for part in (header or {"alg": "ES256"}, claims)) + ".c2ln"


@pytest.mark.parametrize(
    ("token", "found"),
    [
        (jwt({"cnf": {"jkt": JKT}}), JKT),
        (jwt({"cnf": {"x5t#S256": "x"}}), ""),
        (jwt({"cnf": "x"}), ""),
        (jwt({"sub": "x"}), ""),
        (jwt({"cnf": {"jkt": 7}}), ""),
        (jwt([]), None),
        (jwt({}, {"typ": "x"}), None),
        ("opaque", None),
        ("a.b.c", None),
        ("a.b.c.d.e", None),
    ],
)
def test_the_binding_that_a_token_shows(token, found):
    assert dpop.confirmed(token, "jkt") == found


def sent(nonce=None):
    headers = [("authorization", "DPoP x")]
    if nonce != "no proof":
        headers.append(("dpop", made(nonce=nonce)[1]))
    return RequestHead(
        "GET", "https", Authority("api.example.com", 443), "/", ("",), None, tuple(headers), has_body=False
    )


NONCE = 'DPoP error="use_dpop_nonce"'
INVALID = 'Bearer error="invalid_token"'


@pytest.mark.parametrize(
    ("status", "challenge", "nonce", "used", "attempt", "proves", "again", "notice"),
    [
        (200, None, "n2", "n1", 0, True, "no", ""),
        (401, NONCE, "n2", "n1", 0, True, "prove", ""),
        (401, NONCE, "n2", None, 1, True, "prove", ""),  # a new token came first
        (401, NONCE, "n3", "n2", 1, True, "no", ""),  # once is enough
        (401, NONCE, "n1", "n1", 0, True, "no", ""),  # nothing new
        (401, NONCE, None, None, 0, True, "no", ""),
        (401, NONCE, "n2", None, 0, False, "no", ""),
        (401, INVALID, None, None, 0, False, "mint", ""),
        (401, 'DPoP error="invalid_token"', "n2", "n1", 0, True, "mint", ""),
        (401, None, None, None, 0, False, "mint", ""),
        (401, 'Basic realm="x"', None, None, 0, False, "mint", ""),
        (401, 'DPoP error="invalid_dpop_proof"', "n2", "n1", 0, True, "no", ""),
        (401, 'Bearer error="insufficient_user_authentication", acr_values="x"', None, None, 0, False, "no", STEP_UP),
        (403, 'Bearer error="insufficient_scope", scope="everything"', None, None, 0, False, "no", MORE_SCOPE),
        (403, INVALID, None, None, 0, False, "no", ""),
        (500, INVALID, None, None, 0, False, "no", ""),
    ],
)
def test_what_an_answer_teaches(status, challenge, nonce, used, attempt, proves, again, notice):
    headers = [("www-authenticate", challenge)] if challenge else []
    headers += [("dpop-nonce", nonce)] if nonce else []
    learnt = lesson(
        sent(used if proves else "no proof"), ResponseHead(status, tuple(headers)), attempt=attempt, proves=proves
    )
    assert (learnt.again, learnt.notice) == (again, notice)
    assert learnt.facts == ({"dpop_nonce": nonce} if nonce and proves else {})
