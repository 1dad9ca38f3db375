"""`kind: hmac`: what providers document, and signatures that servers of other code accept."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError

from proxy.credentials import CredentialSpec
from proxy.credentials.kind import Credential, Moment
from proxy.errors import Refused
from proxy.model import Authority, RequestHead
from proxy.secret import Secret
from tests.fakes.signed_api import KrakenLike, SlackLike
from tests.rig.kinds import assert_never_shown, running_kind

ADAPTER = TypeAdapter(CredentialSpec)
KRAKEN = {
    "kind": "hmac", "secret": "private_key", "key_encoding": "base64", "algorithm": "sha512",
    "digests": {"inner": {"hash": "sha256", "of": "{nonce}{body}"}},
    "string_to_sign": "{path}{inner:raw}", "encoding": "base64", "nonce": "increasing",
    "form": {"nonce": "{nonce}"}, "headers": {"API-Key": "{api_key}", "API-Sign": "{signature}"},
}  # fmt: skip
SLACK = {
    "kind": "hmac", "secret": "signing_secret", "string_to_sign": "v0:{timestamp}:{body}",
    "headers": {"X-Slack-Request-Timestamp": "{timestamp}", "X-Slack-Signature": "v0={signature}"},
}  # fmt: skip
TWILIO = {
    "kind": "hmac", "secret": "auth_token", "algorithm": "sha1", "string_to_sign": "{url}{form_sorted}",
    "encoding": "base64", "headers": {"X-Twilio-Signature": "{signature}"},
}  # fmt: skip
KRAKEN_SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
KRAKEN_KEY = "CJbfPw4tnbf/9en/ZmpewCTKEwmmzO18LXZcHQcu7HPLWre4l8"
SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"


def proved(
    fields, secrets, *, method="POST", path="/", query=None, headers=(), body=None, host="a.test", now_s=0.0, serial=0
):
    kind = ADAPTER.validate_json(orjson.dumps(fields))
    assert kind.secret_names() == set(secrets)
    head = RequestHead(method, "https", Authority(host, 443), path, (), query, tuple(headers), body is not None)
    credential = Credential({name: Secret(name, value) for name, value in secrets.items()})
    proving = kind.prove(credential, head, body, Moment(now_s, serial=serial))
    with pytest.raises(StopIteration) as ended:
        next(proving)
    return ended.value.value


def headers_of(presented):
    return dict(presented.head.headers)


# -- documented examples ---------------------------------------------------------------------------------------------


def test_slacks_documented_example():
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
        b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
        b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121"
        b".803a0bc887a14d10d2c447fce8b6703c"
    )
    presented = proved(SLACK, {"signing_secret": SLACK_SECRET}, body=body, now_s=1531420618)
    assert headers_of(presented) == {
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    assert presented.body == body


def test_krakens_documented_example():
    body = b"nonce=1&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
    presented = proved(
        KRAKEN,
        {"private_key": KRAKEN_SECRET, "api_key": "k"},
        path="/0/private/AddOrder",
        body=body,
        serial=1616492376594,
    )
    assert presented.body == b"nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
    assert headers_of(presented) == {
        "api-key": "k",
        "api-sign": "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ==",
    }


def test_twilios_documented_example():
    body = b"CallSid=CA1234567890ABCDE&Caller=%2B12349013030&Digits=1234&From=%2B12349013030&To=%2B18005551212"
    presented = proved(
        TWILIO, {"auth_token": "12345"}, host="mycompany.com", path="/myapp.php", query="foo=1&bar=2", body=body
    )
    assert headers_of(presented) == {"x-twilio-signature": "0/KCTR6DLpKmkAf8muzZqo1nDgQ="}


def test_rfc_4231_case_2():
    fields = {"kind": "hmac", "secret": "k", "string_to_sign": "{body}", "headers": {"S": "{signature}"}}
    body = b"what do ya want for nothing?"
    assert headers_of(proved(fields, {"k": "Jefe"}, body=body))["s"] == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )
    long = proved({**fields, "algorithm": "sha512", "key_encoding": "hex"}, {"k": b"Jefe".hex()}, body=body)
    assert headers_of(long)["s"].startswith("164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554")


# -- templates -------------------------------------------------------------------------------------------------------


def test_a_form_keeps_the_bytes_that_are_not_utf8():
    fields = {"kind": "hmac", "secret": "k", "string_to_sign": "{form_sorted}", "headers": {"S": "{signature}"}}
    presented = proved({**fields, "form": {"user": "{name}"}}, {"k": "key", "name": "gr\u00fc\u00df"}, body=b"a=%FF%41")
    assert presented.body == b"a=%FFA&user=gr%C3%BC%C3%9F"
    made = hmac.digest(b"key", b"a\xffAuser" + "gr\u00fc\u00df".encode(), "sha256").hex()
    assert headers_of(presented)["s"] == made


def test_query_parameters_without_the_signature_are_part_of_what_is_signed():
    """As Binance signs: the query with its timestamp, then the signature behind it."""
    fields = {
        "kind": "hmac", "secret": "k", "string_to_sign": "{query}{body}", "timestamp": "ms",
        "query": {"timestamp": "{timestamp}", "signature": "{signature}"},
    }  # fmt: skip
    presented = proved(fields, {"k": "key"}, query="symbol=X&timestamp=1&signature=agent", now_s=1.5)
    signed = presented.head.query.rpartition("&signature=")
    assert signed[0] == "symbol=X&timestamp=1500"
    assert signed[2] == hmac.new(b"key", signed[0].encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{method} {scheme} {host} {path} {query} {target}", "POST https a.test /p b=2&a=1 /p?b=2&a=1"),
        ("{url}", "https://a.test/p?b=2&a=1"),
        ("{query_sorted}", "a=1&b=2"),
        ("{header:X-One}/{query_value:a}", "one/1"),
        ("{body_sha256}", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("{body_md5:base64}", "1B2M2Y8AsgTpgAmY7PhCfg=="),
        ("{timestamp}", "1970-01-01T00:00:01.500Z"),
        ("{other} {not a placeholder} {}", "the-other {not a placeholder} {}"),
    ],
)
def test_placeholders(template, value):
    secrets = {"k": "key"} | ({"other": "the-other"} if "{other}" in template else {})
    fields = {
        "kind": "hmac", "secret": "k", "string_to_sign": "x", "timestamp": "iso8601",
        "headers": {"S": "{signature}", "T": template},
    }  # fmt: skip
    presented = proved(fields, secrets, path="/p", query="b=2&a=1", headers=[("x-one", "one")], body=b"", now_s=1.5)
    assert headers_of(presented)["t"] == value


@pytest.mark.parametrize(
    ("timestamp", "value"),
    [("s", "1"), ("ms", "1500"), ("us", "1500000"), ("http_date", "Thu, 01 Jan 1970 00:00:01 GMT")],
)
def test_timestamps(timestamp, value):
    fields = {"kind": "hmac", "secret": "k", "string_to_sign": "x", "timestamp": timestamp}
    presented = proved({**fields, "headers": {"S": "{signature}", "T": "{timestamp}"}}, {"k": "key"}, now_s=1.5)
    assert headers_of(presented)["t"] == value


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": {"S": "no signature"}},
        {"headers": {"S": "{signature}"}, "string_to_sign": "{signature}"},
        {"headers": {"S": "{signature:rot13}"}},
        {"headers": {"S": "{signature}{header}"}},
        {"headers": {"S": "{signature}{path:x}"}},
        {"headers": {"S": "{signature}"}, "digests": {"body": {"of": "x"}}},
    ],
)
def test_templates_that_cannot_be_filled_are_refused_when_the_profile_is_read(fields):
    with pytest.raises(ValidationError):
        ADAPTER.validate_json(orjson.dumps({"kind": "hmac", "secret": "k", "string_to_sign": "x", **fields}))


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"string_to_sign": "{header:date}"}, {}),
        ({"string_to_sign": "{query_value:a}"}, {"query": "b=1"}),
        ({"string_to_sign": "{query_value:a}"}, {"query": "a=1&a=2"}),
        ({"string_to_sign": "{query_value:a}"}, {"query": "a=1;%61=2"}),
        ({"string_to_sign": "{header:date}"}, {"headers": [("date", "1"), ("date", "2")]}),
        ({"string_to_sign": "{form_sorted}"}, {"body": b"\xff"}),
        ({"string_to_sign": "x", "key_encoding": "hex"}, {}),
        ({"string_to_sign": "x", "key_encoding": "base64"}, {}),
        ({"string_to_sign": "x", "form": {"a": "b"}}, {"body": b"x", "headers": [("content-encoding", "gzip")]}),
        ({"string_to_sign": "x", "headers": {"S": "{signature}{query_value:a}"}}, {"query": "a=1%0d%0ainjected:1"}),
    ],
)
def test_p5_what_cannot_be_signed_is_refused(fields, options):
    with pytest.raises(Refused):
        proved({"kind": "hmac", "secret": "k", "headers": {"S": "{signature}"}, **fields}, {"k": "not-hex!"}, **options)


def test_the_body_is_held_only_where_it_is_read():
    fields = {"kind": "hmac", "secret": "k", "headers": {"S": "{signature}"}}
    held = {
        text: ADAPTER.validate_json(orjson.dumps({**fields, "string_to_sign": text})).needs_body
        for text in ("{path}", "{body}", "{body_sha256}", "{form_sorted}")
    }
    assert held == {"{path}": False, "{body}": True, "{body_sha256}": True, "{form_sorted}": True}


# -- end to end ------------------------------------------------------------------------------------------------------


async def test_p1_kraken_like_end_to_end(tmp_path):
    secrets = {"private_key": KRAKEN_SECRET, "api_key": KRAKEN_KEY}
    async with running_kind(tmp_path, KRAKEN, secrets) as rig:
        server = KrakenLike(KRAKEN_KEY, KRAKEN_SECRET)
        rig.provider.on("/0/private/Balance", server)
        sent = {"headers": {"API-Key": rig.stand_in("signed", "api_key"), "API-Sign": "agent's"}}
        url = "/0/private/Balance"
        first = await rig.call("POST", url, data={"nonce": "7", "asset": "ZUSD"}, **sent)
        http2 = await rig.call("POST", url, data={"asset": "ZUSD"}, http2=True, **sent)
        assert (first.status, http2.status) == (200, 200)
        await rig.call("POST", url, **sent)  # no body at all: the form is the nonce alone
        assert len(server.nonces) == 3
        many = await asyncio.gather(*(rig.call("POST", url, data={"n": str(n)}, **sent) for n in range(6)))
        assert len({a.status for a in many} - {200, 403}) == 0  # a nonce may overtake another on its way
        server.key = "another"
        refused = await rig.call("POST", url, **sent)
        assert refused.status == 403
        await assert_never_shown(rig, [first, http2, refused, *many], KRAKEN_SECRET, KRAKEN_KEY)
        calls = await rig.settled(10)
        assert {(c.decision["credential_kind"], c.decision["account"]) for c in calls} == {("hmac", "signed/main")}
        assert await rig.problems() == ()


async def test_p1_slack_like_end_to_end(tmp_path):
    async with running_kind(tmp_path, SLACK, {"signing_secret": SLACK_SECRET}) as rig:
        server = SlackLike(SLACK_SECRET)
        rig.provider.on("/hook", server)
        answers = [await rig.call("POST", "/hook", content=body) for body in (b"a=1", bytes(range(256)), b"")]
        assert [answer.status for answer in answers] == [200, 200, 200]
        server.skew_s = 600
        late = await rig.call("POST", "/hook", content=b"a=1")
        assert late.status == 401
        await assert_never_shown(rig, [*answers, late], SLACK_SECRET)


async def test_p5_a_secret_that_is_not_in_its_encoding_sends_nothing(tmp_path):
    async with running_kind(tmp_path, KRAKEN, {"private_key": "!!! not base64", "api_key": KRAKEN_KEY}) as rig:
        answer = await rig.call("POST", "/0/private/Balance")
        assert answer.problem == "credential_unavailable"
        assert rig.provider.requests == []


def test_base64_keys_of_either_alphabet():
    raw = bytes(range(250, 256)) * 4
    fields = {
        "kind": "hmac",
        "secret": "k",
        "key_encoding": "base64",
        "string_to_sign": "x",
        "headers": {"S": "{signature}"},
    }
    made = {
        headers_of(proved(fields, {"k": encode(raw).decode().rstrip(pad)}))["s"]
        for encode in (base64.b64encode, base64.urlsafe_b64encode)
        for pad in ("=", "")
    }
    assert len(made) == 1
