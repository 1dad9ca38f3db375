"""What each grant asks for and what it makes of the answers; assertions are judged by another library."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from urllib.parse import parse_qs

import orjson
import pytest
from jwskate import Jwk, SignedJwt
from pydantic import TypeAdapter, ValidationError

from proxy.credentials import CredentialSpec
from proxy.credentials.kind import Call, Ingredients, MintFailedError, Reply
from proxy.credentials.oauth.client import basic
from proxy.credentials.oauth.forms import details_fault, scope_to_ask
from proxy.credentials.oauth.reply import failed, read_reply, retry_after_s
from proxy.keys import software
from proxy.model import AccountId
from proxy.secret import Secret

NOW_S = 1_764_000_000
URL = "https://as.example.com/token"
SECRETS = {n: Secret(n, f"{n}-value") for n in ("client_secret", "refresh_token", "subject", "actor", "ready")}
EXCHANGE = {
    "subject_token": "subject",
    "actor_token": "actor",
    "actor_token_type": "urn:ietf:params:oauth:token-type:jwt",
}
TXN = "urn:ietf:params:oauth:token-type:txn_token"


def spec(grant, **fields):
    data = {"kind": "oauth", "grant": grant, "token_endpoint": URL, **fields}
    return TypeAdapter(CredentialSpec).validate_json(orjson.dumps(data))


def good(**more):
    return {"access_token": "at-number-1", "token_type": "bearer", "expires_in": 3600, **more}


class Minted:
    """One mint: `answers` in order; `calls` are what was asked."""

    def __init__(self, kind, *answers, kept=None, interrupted=None, secrets=SECRETS):
        self.calls = []
        self.signers = {slot: software.generate(algorithm) for slot, algorithm in kind.key_names().items()}
        self.given = Ingredients(
            account=AccountId("api", "main"), secrets=secrets, variables={"client_id": "me"},
            keys={slot: signer.public for slot, signer in self.signers.items()}, kept=kept or {},
            interrupted=interrupted, now_s=NOW_S,
        )  # fmt: skip
        self.credential = self.failed = None
        minting, answer, left = kind.mint(self.given), None, list(answers)
        try:
            while True:
                step = minting.send(answer)
                if isinstance(step, Call):
                    self.calls.append(step)
                    found = left.pop(0)
                    answer = found if isinstance(found, Reply) else Reply(200, {}, orjson.dumps(found))
                else:
                    answer = asyncio.run(self.signers[step.key].sign(step.message))
        except StopIteration as ended:
            self.credential = ended.value
        except MintFailedError as failed:
            self.failed = failed

    @property
    def form(self):
        return parse_qs(self.calls[-1].body.decode(), strict_parsing=True)


def refusal(code, status=400):
    return Reply(status, {}, orjson.dumps({"error": code, "error_description": "never shown"}))


def test_basic_encodes_both_parts_first():
    # RFC 6749, section 2.3.1: id and secret are form-encoded, then joined and put into base64
    value = base64.b64decode(basic("a b:c", "p%+/ä").removeprefix("Basic ")).decode()
    assert value == "a+b%3Ac:p%25%2B%2F%C3%A4"


def test_parameters_of_client_credentials():
    minted = Minted(
        spec("client_credentials", scope="a b", audience="https://aud/", resource=["https://r1/", "https://r2/"],
             parameters={"account_id": "{client_id}"}, headers={"Notion-Version": "2026"}), good(),
    )  # fmt: skip
    assert minted.form == {
        "grant_type": ["client_credentials"], "scope": ["a b"], "audience": ["https://aud/"],
        "resource": ["https://r1/", "https://r2/"], "account_id": ["me"],
    }  # fmt: skip
    assert minted.calls[0].headers["Notion-Version"] == "2026"
    assert minted.calls[0].headers["authorization"] == basic("me", "client_secret-value")
    assert minted.calls[0].uses_up == {}
    assert minted.credential.token == "access_token"
    assert "at-number-1" not in repr(minted.credential)


def test_json_is_one_object():
    minted = Minted(spec("refresh_token", format="json", client={"auth": "post"}), good())
    assert orjson.loads(minted.calls[0].body) == {
        "grant_type": "refresh_token", "refresh_token": "refresh_token-value", "client_id": "me",
        "client_secret": "client_secret-value",
    }  # fmt: skip


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
def test_private_key_jwt_names_the_issuer_as_its_one_audience(algorithm):
    kind = spec(
        "client_credentials",
        issuer="https://as.example.com",
        client={"auth": "private_key_jwt", "algorithm": algorithm},
    )
    minted = Minted(kind, good())
    read = SignedJwt(minted.form["client_assertion"][0])
    assert read.verify_signature(Jwk(dict(minted.given.keys["client"].jwk)), alg=algorithm)
    assert read.claims == {"iss": "me", "sub": "me", "aud": "https://as.example.com", "iat": NOW_S, "exp": NOW_S + 60,
                           "jti": read.claims["jti"]}  # fmt: skip
    assert minted.form["client_id"] == ["me"]
    older = Minted(spec("client_credentials", client={"auth": "private_key_jwt", "audience": URL}), good())
    assert SignedJwt(older.form["client_assertion"][0]).claims["aud"] == URL


def test_jwt_bearer_signs_what_the_profile_says_or_takes_what_there_is():
    assertion = {
        "subject": "someone@example.com",
        "audience": "https://aud/",
        "claims": {"sub_type": "user"},
        "lifetime_s": 60,
    }
    minted = Minted(spec("jwt_bearer", assertion=assertion, client={"auth": "none"}), good())
    read = SignedJwt(minted.form["assertion"][0])
    assert read.verify_signature(Jwk(dict(minted.given.keys["assertion"].jwk)), alg="RS256")
    assert {n: read.claims[n] for n in ("iss", "sub", "aud", "exp", "sub_type")} == {
        "iss": "me", "sub": "someone@example.com", "aud": "https://aud/", "exp": NOW_S + 60, "sub_type": "user",
    }  # fmt: skip
    assert minted.form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    ready = Minted(spec("jwt_bearer", assertion={"secret": "ready"}), good())
    assert ready.form["assertion"] == ["ready-value"]
    refused = Minted(spec("jwt_bearer", assertion=assertion), refusal("invalid_grant"))
    assert (len(refused.calls), refused.failed.denial.slug, refused.failed.forget) == (1, "token_endpoint_error", False)


def test_token_exchange_says_whose_token_it_is_and_who_acts():
    kind = spec("token_exchange", exchange={**EXCHANGE, "requested_token_type": TXN}, header="Txn-Token", prefix="")
    minted = Minted(kind, good(token_type="N_A", issued_token_type=TXN))
    assert minted.form["subject_token"] == ["subject-value"]
    assert minted.form["subject_token_type"] == ["urn:ietf:params:oauth:token-type:access_token"]
    assert (minted.form["actor_token"], minted.form["actor_token_type"]) == (
        ["actor-value"], ["urn:ietf:params:oauth:token-type:jwt"],
    )  # fmt: skip
    assert minted.credential.text("access_token") == "at-number-1"
    for answer in (good(), good(issued_token_type="urn:other"), good(issued_token_type=TXN, token_type="mac")):
        assert Minted(kind, answer).failed is not None
    bearer = spec("token_exchange", exchange=EXCHANGE)
    assert Minted(bearer, good(token_type="N_A", issued_token_type=TXN)).failed is not None, "not an access token"
    assert Minted(bearer, good(issued_token_type="urn:x")).credential is not None


def jwt(**claims):
    parts = ({"alg": "RS256"}, claims)
    return ".".join(base64.urlsafe_b64encode(orjson.dumps(part)).decode().rstrip("=") for part in parts) + ".c2ln"


@pytest.mark.parametrize(
    ("first", "later", "same"),
    [
        ("opaque-token-of-ann", "opaque-token-of-ann", True),
        ("opaque-token-of-ann", "opaque-token-of-bob", False),
        (jwt(iss="i", sub="ann", exp=1), jwt(iss="i", sub="ann", exp=2), True),
        (jwt(iss="i", sub="ann", exp=1), jwt(iss="i", sub="bob", exp=1), False),
        (jwt(iss="i", sub="ann", exp=1), jwt(iss="j", sub="ann", exp=1), False),
        (jwt(sub="ann", exp=1), jwt(sub="ann", exp=2), False),
        ("a.b.c-not-a-jwt", "a.b.d-not-a-jwt", False),
    ],
)
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (spec("token_exchange", exchange=EXCHANGE), "subject"),
        (spec("token_exchange", exchange=EXCHANGE), "actor"),
        (spec("jwt_bearer", assertion={"secret": "ready"}), "ready"),
    ],
)
def test_p6_a_token_that_was_got_for_somebody_is_not_taken_over_for_somebody_else(kind, name, first, later, same):
    minted = Minted(
        kind, good(issued_token_type="urn:ietf:params:oauth:token-type:access_token"),
        secrets={**SECRETS, name: Secret(name, first)},
    )  # fmt: skip
    given = replace(minted.given, kept=minted.credential.keep, secrets={**SECRETS, name: Secret(name, later)})
    assert (kind.restore(given) is not None) == same


def test_a_refresh_keeps_the_old_token_unless_there_is_a_new_one():
    kind = spec("refresh_token")
    first = Minted(kind, good())
    assert first.credential.keep["refresh_token"] == "refresh_token-value"
    assert first.calls[0].uses_up.keys() == {"refresh_token", "at_s"}
    assert "refresh_token-value" not in str(first.calls[0].uses_up)
    second = Minted(kind, good(refresh_token="rt-number-2", scope="less"), kept=first.credential.keep)
    assert second.credential.keep["refresh_token"] == "rt-number-2"
    assert second.credential.secrets["refresh_token"].reveal() == b"rt-number-2"
    third = Minted(spec("refresh_token", scope="less more"), good(), kept=second.credential.keep)
    assert third.form["refresh_token"] == ["rt-number-2"]
    assert "scope" not in third.form, "more than was granted is never asked for"
    assert third.credential.keep["scope"] == "less"
    last = Minted(spec("refresh_token", refresh={"single_use": True}), good(), kept=second.credential.keep)
    assert "refresh_token" not in last.credential.keep
    other = Minted(
        kind, good(), kept=second.credential.keep, secrets={**SECRETS, "refresh_token": Secret("x", "new-one")}
    )
    assert other.form["refresh_token"] == ["new-one"], "the operator has given another"
    silent = Minted(spec("refresh_token", refresh={"rotates": False}), good())
    assert silent.calls[0].uses_up == {}


def test_what_somebody_connected_is_used_and_nothing_else():
    kind = spec("authorization_code", issuer="https://as.example.com", client={"auth": "none", "id": ""})
    nothing = Minted(kind)
    assert (nothing.calls, nothing.failed.denial.slug) == ([], "not_connected")
    kept = {"refresh_token": "rt-number-1", "access_token": "at-number-0", "expires_at_s": str(NOW_S + 600), "scope": "a b",
            "token_type": "Bearer", "issuer": "https://as.example.com", "client_id": "registered"}  # fmt: skip
    restored = kind.restore(Ingredients(AccountId("api", "main"), {}, kept=kept, now_s=NOW_S))
    assert restored.text("access_token") == "at-number-0"
    assert restored.expires_at_s <= NOW_S + 600
    assert {s.reveal() for s in kind.kept_secrets(kept).values()} == {b"at-number-0", b"rt-number-1"}
    minted = Minted(kind, good(), kept=kept)
    assert minted.form == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["rt-number-1"],
        "client_id": ["registered"],
    }
    assert minted.credential.keep["client_id"] == "registered"
    elsewhere = {**kept, "issuer": "https://other.example.com"}
    assert Minted(kind, kept=elsewhere).failed.denial.slug == "not_connected", "a token never goes to another issuer"
    assert kind.restore(Ingredients(AccountId("api", "main"), {}, kept=elsewhere, now_s=NOW_S)) is None


def test_a_refresh_that_was_interrupted():
    kept = {"refresh_token": "rt-number-1", "access_token": "at-number-0", "expires_at_s": str(NOW_S + 30), "scope": "",
            "token_type": "bearer", "issuer": URL}  # fmt: skip
    given = Ingredients(AccountId("api", "main"), {}, kept=kept, interrupted={"refresh_token": "x"}, now_s=NOW_S)
    strict, lenient = spec("device_code"), spec("device_code", refresh={"reuse_leeway_s": 30})
    assert strict.restore(given).refresh_at_s is None, "to its end: to refresh may end the grant"
    assert lenient.restore(given) is None, "at once: the old one is still taken"
    assert lenient.restore(Ingredients(AccountId("api", "main"), {}, kept=kept, now_s=NOW_S)) is not None


def test_invalid_grant_means_what_the_profile_says():
    assert Minted(spec("refresh_token"), refusal("invalid_grant")).failed.forget
    assert Minted(spec("refresh_token"), refusal("invalid_grant")).failed.denial.slug == "credential_revoked"
    again = Minted(spec("refresh_token", refresh={"revoked_by": ["token_revoked"]}), refusal("invalid_grant")).failed
    assert (again.forget, again.denial.slug) == (False, "token_endpoint_error")
    ok_but_not = Minted(spec("refresh_token", refresh={"revoked_by": ["token_revoked"]}), refusal("token_revoked", 200))
    assert ok_but_not.failed.forget


@pytest.mark.parametrize(
    ("answer", "lifetime_s"),
    [
        (good(expires_in="3600"), 3600), (good(expires_in=3600.0), 3600), (good(expires_in=10**12), 315_360_000),
        ({"access_token": "at-number-1", "token_type": "BEARER"}, 300),
    ],
)  # fmt: skip
def test_how_long_a_token_lives(answer, lifetime_s):
    credential = Minted(spec("client_credentials"), answer).credential
    assert NOW_S + lifetime_s - 10 <= credential.expires_at_s <= NOW_S + lifetime_s
    assert credential.refresh_at_s <= credential.expires_at_s
    assert credential.keep["expires_at_s"] == str(NOW_S + lifetime_s)


GARBAGE = [
    b"", b"<html>", b"[]", b"null", b'"x"', b"{", b"[" * 100_000, b'{"access_token": 7, "token_type": "bearer"}',
    orjson.dumps(good(access_token="at number 1")), orjson.dumps(good(access_token="at\r\nnumber")), orjson.dumps(good(access_token="")),
    orjson.dumps(good(access_token="x" * 40_000)), orjson.dumps(good(token_type=None)), orjson.dumps(good(token_type="mac")),
    orjson.dumps(good(token_type=["bearer"])), orjson.dumps(good(token_type="DPoP")), orjson.dumps(good(expires_in=-1)),
    orjson.dumps(good(expires_in=0)), orjson.dumps(good(expires_in=True)), orjson.dumps(good(expires_in="soon")),
    orjson.dumps(good(expires_in={})), orjson.dumps(good(refresh_token=["x"])), orjson.dumps(good(refresh_token="rt\nnumber")), orjson.dumps(good(refresh_token="short")), orjson.dumps(good(access_token="short")),
    orjson.dumps(good(scope=7)), orjson.dumps(good(authorization_details={})), b'{"ok": false, "error": "\\u0000<b>"}',
    orjson.dumps({"ok": False}), b'{"access_token": "\xff"}', b'{"expires_in": 1e999}',
]  # fmt: skip


@pytest.mark.parametrize("body", GARBAGE, ids=range(len(GARBAGE)))
def test_p5_m10_garbage_is_refused_and_never_repeated(body):
    failed = Minted(spec("client_credentials"), Reply(200, {"content-type": "text/html"}, body)).failed
    assert failed is not None
    assert failed.denial.slug == "token_endpoint_error"
    assert not failed.forget
    assert failed.denial.detail.startswith(("The token endpoint ", "The authorization server "))


@pytest.mark.parametrize(
    ("status", "headers", "waits"),
    [
        (429, {"retry-after": "7"}, 7), (503, {"retry-after": "999999"}, 3600), (429, {}, None),
        (503, {"retry-after": "Wed, 26 Nov 2025 00:00:00 GMT"}, 3600), (503, {"retry-after": "tomorrow"}, None),
        (500, {"retry-after": "٣"}, None), (503, {"retry-after": "9" * 400}, 3600),
    ],
)  # fmt: skip
def test_m11_when_to_ask_again(status, headers, waits):
    with pytest.raises(MintFailedError) as raised:
        read_reply(Reply(status, headers, b"{}"), NOW_S)
    assert raised.value.retry_after_s == waits
    assert retry_after_s(Reply(429, {"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, b""), NOW_S) == 0
    assert failed("x").denial.detail == "x"


@pytest.mark.parametrize(
    ("asked", "granted", "fine"),
    [
        ([{"type": "a"}], [{"type": "a", "id": "7"}], True),
        ([{"type": "a", "actions": ["read", "write"]}], [{"type": "a", "actions": ["read"]}], True),
        ([{"type": "a", "actions": ["read"]}], [{"type": "a", "actions": ["read", "write"]}], False),
        ([{"type": "a"}], [{"type": "b"}], False),
        ([{"type": "a"}], [{"type": "a"}, {"type": "b"}], False),
        ([{"type": "a"}], None, False),
        ([{"type": "a"}], [], False),
        ([], [{"type": "b"}], True),
    ],
)
def test_authorization_details_that_were_granted_are_compared(asked, granted, fine):
    assert (details_fault(tuple(asked), None if granted is None else tuple(granted)) is None) == fine
    if asked:
        minted = Minted(spec("client_credentials", authorization_details=asked), good(authorization_details=granted))
        assert (minted.credential is not None) == fine
        assert orjson.loads(minted.form["authorization_details"][0]) == asked


def test_a_scope_is_narrowed_and_never_widened():
    assert scope_to_ask("a", "a b") == "a"
    for wanted, granted in (("a b c", "b a"), ("c", "a b"), ("", "a"), ("a", "")):
        assert scope_to_ask(wanted, granted) is None


def test_dpop_is_proved_to_the_token_endpoint_and_a_nonce_costs_one_question_more():
    nonce = Reply(400, {"dpop-nonce": "n1"}, orjson.dumps({"error": "use_dpop_nonce"}))
    kind = spec("client_credentials", sender="dpop")
    minted = Minted(kind, nonce, good(token_type="DPoP"))
    claims = [SignedJwt(call.headers["dpop"]).claims for call in minted.calls]
    assert [c.get("nonce") for c in claims] == [None, "n1"]
    assert {(c["htm"], c["htu"]) for c in claims} == {("POST", URL)}
    assert claims[0]["jti"] != claims[1]["jti"]
    assert minted.credential.keep["nonce"] == "n1"
    assert Minted(kind, nonce, nonce).failed.denial.slug == "token_endpoint_error"
    assert len(Minted(kind, nonce, nonce).calls) == 2
    assert Minted(kind, good()).failed is not None, "a downgrade to Bearer"
    assert (
        Minted(kind, good(token_type="dpop"), kept={**minted.credential.keep, "jkt": "another key"}).credential
        is not None
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"token_endpoint": None}, {"token_endpoint": "http://x/"}, {"exchange": EXCHANGE}, {"parameters": {"scope": "x"}},
        {"sender": "dpop", "header": "X-Token"}, {"sender": "dpop", "prefix": ""}, {"resource": ["https://x/#y"]},
        {"client": {"auth": "basic", "id": ""}}, {"assertion": {"claims": {"iss": "x"}}}, {"grant": "password"},
        {"client": {"auth": "client_secret_jwt"}}, {"unknown": 1}, {"protected_resource": "https://api.example/"},
        {"introspection": "opaque"}, {"introspection": "opaque", "sender": "dpop"},
        {"introspection": "opaque", "sender": "dpop", "issuer": "https://as.example", "client": {"auth": "none"}},
    ],
)  # fmt: skip
def test_a_profile_that_says_nonsense_does_not_load(fields):
    with pytest.raises(ValidationError):
        spec(**{"grant": "client_credentials", **fields})


def test_discovery_may_name_only_places_that_the_profile_allows():
    kind = spec("client_credentials", token_endpoint=None, issuer="https://as.example.com")
    metadata = {"issuer": "https://as.example.com", "token_endpoint": "https://evil.example.com/token"}
    found = Minted(kind, metadata)
    assert (len(found.calls), found.failed.denial.slug) == (1, "token_endpoint_error")
    metadata["token_endpoint"] = "https://as.example.com/t"
    assert Minted(kind, metadata, good()).calls[1].url == "https://as.example.com/t"
    other = spec(
        "client_credentials", token_endpoint=None, issuer="https://as.example.com", endpoint_hosts=["t.example.com"]
    )
    metadata["token_endpoint"] = "https://t.example.com/t"
    assert Minted(other, metadata, good()).calls[1].url == "https://t.example.com/t"
    tls = spec("client_credentials", token_endpoint=None, issuer="https://as.example.com", client={"auth": "tls"})
    metadata |= {
        "token_endpoint": "https://as.example.com/t",
        "mtls_endpoint_aliases": {"token_endpoint": "https://as.example.com/m"},
    }
    certified = Minted(tls, metadata, good())
    assert (certified.calls[1].url, certified.calls[1].certificate) == ("https://as.example.com/m", "tls")
    assert certified.form["client_id"] == ["me"]
