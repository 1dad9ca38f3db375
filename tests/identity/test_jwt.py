"""Which tokens are whose: tables over the pure part (RFC 7519, RFC 8725)."""

from __future__ import annotations

import base64
import hmac
import json

import pytest

from proxy.identity.jwt import MAX_TOKEN_CHARACTERS, jwt_in, keys_in, named, presented, verify
from proxy.identity_settings import AgentClaim, TokenIssuer
from tests.fakes.issuer import AUDIENCE, ISSUER, NOW, SUBJECT, claims, new_key, part, token

KEYS = {name: new_key(name, f"key-{name}") for name in ("RS256", "ES256", "ES384", "Ed25519")}
ALL = tuple(KEYS)


def issuer(**changed):
    described = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "jwks_file": "/x",
        "agent": {"map": {SUBJECT: "coder"}},
        **changed,
    }
    return TokenIssuer.model_validate_json(json.dumps(described))


def known(*keys):
    found = keys_in(json.dumps({"keys": [key.as_dict(private=False) for key in keys or KEYS.values()]}).encode())
    assert found is not None
    return found


def agent(text, rules=None, *keys):
    shown = presented(text)
    verified = verify(shown, rules or issuer(algorithms=ALL), known(*keys), now_s=NOW) if shown is not None else None
    return verified and verified.agent


@pytest.mark.parametrize("algorithm", ALL)
def test_a_good_token_is_its_agents(algorithm):
    assert agent(token(KEYS[algorithm], algorithm)) == "coder"


@pytest.mark.parametrize("kind", [None, "jwt", "JWT", "at+jwt", "application/at+jwt"])
def test_its_type_may_be_these(kind):
    assert agent(token(KEYS["ES256"], "ES256", header={"typ": kind})) == "coder"


WRONG = {
    "another issuer": {"iss": f"{ISSUER}/"},
    "issuer in upper case": {"iss": ISSUER.upper()},
    "no issuer": {"iss": None},
    "an issuer that is a list": {"iss": [ISSUER]},
    "another audience": {"aud": "other"},
    "a longer audience": {"aud": f"{AUDIENCE}-x"},
    "audiences without ours": {"aud": ["other", "https://kubernetes.default.svc"]},
    "an audience inside another": {"aud": [[AUDIENCE]]},
    "no audience": {"aud": None},
    "expired": {"exp": NOW - 31},
    "no end": {"exp": None},
    "an end that is text": {"exp": str(NOW + 600)},
    "an end that is true": {"exp": True},
    "an end beyond numbers": {"exp": 1e300},
    "a negative end": {"exp": -1},
    "not yet": {"nbf": NOW + 60},
    "a beginning that is text": {"nbf": "0"},
    "issued in the future": {"iat": NOW + 60},
    "somebody else": {"sub": "system:serviceaccount:agents:other"},
    "nobody": {"sub": None},
    "a list of subjects": {"sub": [SUBJECT]},
}


@pytest.mark.parametrize("changed", WRONG.values(), ids=WRONG)
def test_p5_a_claim_that_is_wrong_is_nobodys(changed):
    assert agent(token(KEYS["RS256"], "RS256", **changed)) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": NOW - 20},
        {"nbf": NOW + 20},
        {"iat": NOW + 20},
        {"aud": AUDIENCE},
        {"iat": None},
        {"nbf": None},
    ],
)
def test_what_the_leeway_and_the_rules_let_pass(changed):
    assert agent(token(KEYS["RS256"], "RS256", **changed)) == "coder"
    if "exp" in changed:
        assert agent(token(KEYS["RS256"], "RS256", **changed), issuer(leeway_s=0)) is None


@pytest.mark.parametrize(("issued", "whose"), [(NOW - 50, "coder"), (NOW - 140, None), (None, None)])
def test_a_token_may_be_so_old_at_most(issued, whose):
    assert agent(token(KEYS["RS256"], "RS256", iat=issued), issuer(max_age_s=100)) == whose


def test_the_end_is_the_earlier_of_the_two():
    shown = presented(token(KEYS["RS256"], "RS256", iat=NOW - 50))
    verified = verify(shown, issuer(max_age_s=100, leeway_s=10), known(), now_s=NOW)
    assert verified.expires_s == NOW - 50 + 100 + 10


HEADERS = {
    "critical": {"crit": ["exp"]},
    "unencoded": {"b64": False},
    "compressed": {"zip": "DEF"},
    "a proof": {"typ": "dpop+jwt"},
    "a logout": {"typ": "logout+jwt"},
    "a type that is a list": {"typ": ["JWT"]},
    "an id that is a number": {"kid": 7},
    "an unknown id": {"kid": "nobody"},
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_p5_a_header_that_asks_for_more_is_refused(header):
    assert agent(token(KEYS["ES256"], "ES256", header=header)) is None


def test_p5_keys_that_a_token_brings_along_are_not_used():
    mine = new_key("ES256", "key-ES256")
    brought = {"jwk": mine.as_dict(private=False), "jku": "https://evil.test/jwks"}
    assert agent(token(mine, "ES256", header=brought)) is None
    assert agent(token(KEYS["ES256"], "ES256", header=brought)) == "coder"  # there they are only noise


def test_p5_no_algorithm_is_no_signature():
    for algorithm in ("none", "None", "NONE", ""):
        head = part({"alg": algorithm, "typ": "JWT", "kid": "key-RS256"})
        for signature in ("", "x", part(b"signature")):
            assert agent(f"{head}.{part(claims())}.{signature}") is None


def test_p5_a_public_key_is_no_shared_secret():
    """RFC 8725, section 2.1: HS256 with the published RSA key."""
    public = KEYS["RS256"]
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'key-RS256'})}.{part(claims())}"
    for secret in (public.as_pem(private=False), json.dumps(public.as_dict(private=False)).encode()):
        assert agent(f"{signed}.{part(hmac.digest(secret, signed.encode(), 'sha256'))}") is None
    # Not even where a careless set lists a shared key.
    shared = {"kty": "oct", "k": part(b"s" * 32), "kid": "key-RS256"}
    assert keys_in(json.dumps({"keys": [shared]}).encode()) == ()


def test_p5_an_algorithm_that_is_not_pinned_is_refused():
    assert agent(token(KEYS["ES384"], "ES384"), issuer()) is None
    assert agent(token(KEYS["RS256"], "RS256"), issuer(algorithms=["ES256"])) is None
    with pytest.raises(ValueError, match="algorithms"):
        issuer(algorithms=["HS256"])
    with pytest.raises(ValueError, match="algorithms"):
        issuer(algorithms=["none"])


def test_p5_a_signature_that_is_not_the_keys():
    good = token(KEYS["ES256"], "ES256")
    head, body, signature = good.split(".")
    changed = part({**claims(), "sub": "system:serviceaccount:agents:admin"})
    rules = issuer(agent={"match": "system:serviceaccount:agents:{agent}"})
    assert agent(good, rules) == "coder"
    assert agent(f"{head}.{changed}.{signature}", rules) is None
    assert agent(f"{head}.{body}.{part(bytes(64))}", rules) is None
    assert agent(token(new_key("ES256", "key-ES256"), "ES256"), rules) is None


def test_without_a_key_id_every_fitting_key_is_tried_but_not_many():
    keys = [new_key("ES256") for _ in range(6)]
    assert agent(token(keys[1], "ES256"), None, *keys) == "coder"
    assert agent(token(keys[5], "ES256"), None, *keys) is None


LONG = "x" * MAX_TOKEN_CHARACTERS


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "a.b", "a.b.c.d", "a.b.c", f"{LONG}.a.b", "é.a.b", "a.b.c\n", " a.b.c", f"{part([1])}.{part({})}.x",
     f"{part({'alg': 'ES256'})}.{part([1])}.x", f"{part({'alg': 'ES256'})}.{part(b'no json')}.x", f"{part({'alg': 1})}.{part(claims())}.x"],
)  # fmt: skip
def test_p7_what_is_no_token_is_not_looked_into(text):
    assert presented(text) is None


def test_p7_a_token_is_read_up_to_its_limit():
    long = token(KEYS["ES256"], "ES256", padding="x" * 5000)
    assert agent(long) == "coder"
    assert presented(token(KEYS["ES256"], "ES256", padding="x" * MAX_TOKEN_CHARACTERS)) is None


def test_where_a_token_stands():
    good = token(KEYS["ES256"], "ES256")
    basic = [base64.b64encode(pair.encode()).decode() for pair in (f"x:{good}", f"{good}:", f":{good}")]
    for header in (f"Bearer {good}", f"bearer  {good}", *(f"Basic {text}" for text in basic)):
        assert jwt_in(header).text == good
    for header in (good, f"Digest {good}", f"Bearer x{good}.", "Basic ====", "Basic " + "a" * 20_000, "Bearer bca_x_y"):
        assert jwt_in(header) is None


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ({"map": {SUBJECT: "alpha"}}, "alpha"),
        ({"match": "system:serviceaccount:agents:{agent}"}, "coder"),
        ({"match": "system:serviceaccount:agents:{agent}", "map": {SUBJECT: "alpha"}}, "alpha"),
        ({"match": "system:serviceaccount:{agent}"}, None),  # a name has no colon
        ({"match": "serviceaccount:agents:{agent}"}, None),
        ({"match": "system:serviceaccount:agents:coder{agent}"}, None),
        ({"match": "{agent}"}, None),
        ({"claim": "/kubernetes.io/serviceaccount/name", "match": "{agent}"}, "coder"),
        ({"claim": "/kubernetes.io/serviceaccount", "match": "{agent}"}, None),
        ({"claim": "/kubernetes.io/none/name", "match": "{agent}"}, None),
        ({"claim": "/sub/x", "match": "{agent}"}, None),
        ({"claim": "email", "map": {SUBJECT: "alpha"}}, None),
    ],
)
def test_which_agent_a_claim_names(rule, found):
    assert named(claims(), AgentClaim.model_validate(rule), "{agent}") == found


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": 1}', b"<html>", json.dumps({"keys": [{}] * 65}).encode()],
)
def test_what_is_no_set_of_keys(document):
    assert keys_in(document) is None


def test_keys_that_are_not_for_this_are_left_out():
    good = KEYS["ES256"].as_dict(private=False)
    from cryptography.hazmat.primitives.asymmetric import rsa

    small = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
    short = {"kty": "RSA", "n": part(small.n.to_bytes(128)), "e": "AQAB"}
    odd = [
        {**good, "use": "enc"},
        {**good, "key_ops": ["encrypt"]},
        {**good, "kid": 7},
        {**good, "x": "AAAA"},
        {**good, "crv": "P-999"},
        KEYS["ES256"].as_dict(private=True),
        short,
        {"kty": "oct", "k": "AAAA"},
        "text",
    ]
    assert keys_in(json.dumps({"keys": odd}).encode()) == ()
    assert len(keys_in(json.dumps({"keys": [good, *odd]}).encode())) == 1
