"""Reading a reply with fresh secrets, as tables over pure functions."""

from __future__ import annotations

import base64
import json

import pytest
from pydantic import ValidationError

from proxy.credentials.answers.document import DocumentAnswer
from proxy.credentials.answers.fields import body_fields
from proxy.credentials.answers.kind import Asked, Holder
from proxy.credentials.captures.claims import readable
from proxy.credentials.captures.reply import CaptureFailedError, looks_secret, read
from proxy.credentials.captures.spec import CaptureSpec
from proxy.model import AccountId, Authority, RequestHead

FRESH = "sk-fresh-0123456789"


def spec(**fields):
    return CaptureSpec.model_validate_json(json.dumps({"secrets": {"/key": "key"}, **fields}))


def jwt(claims):
    parts = [json.dumps({"alg": "RS256"}), json.dumps(claims), "signature"]
    return ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts)


def test_a_login_reply_becomes_the_state_that_grants_keep():
    login = spec(secrets={"/access_token": "a", "/refresh_token": "r"})
    told = {"access_token": FRESH, "refresh_token": FRESH + "r", "expires_in": 60, "scope": "x", "token_type": "Bearer"}
    kept = read(login, "application/json; charset=utf-8", json.dumps(told).encode()).state(1000)
    assert kept == {
        "access_token": FRESH, "refresh_token": FRESH + "r", "expires_at_s": "1060", "scope": "x", "token_type": "Bearer",
    }  # fmt: skip


@pytest.mark.parametrize("life", [-1, "x", None, 1e99, 10**30, True, [], "9" * 40])
def test_a_lifetime_that_is_none_is_left_out(life):
    told = {"key": FRESH, "expires_in": life}
    assert "expires_at_s" not in read(spec(), "application/json", json.dumps(told).encode()).state(1000)


@pytest.mark.parametrize(
    "fields",
    [
        {"secrets": {}},
        {"secrets": {"key": "key"}},
        {"optional": ["/key"]},
        {"optional": ["/other"]},
        {"claims": {"/other": ["x"]}},
    ],
)
def test_a_capture_that_means_nothing_is_refused(fields):
    with pytest.raises(ValidationError):
        spec(**fields)


def test_a_pointer_is_escaped_and_counts_in_lists():
    odd = spec(secrets={"/a~1b/0/c~0d": "key"})
    found = read(odd, "application/json", json.dumps({"a/b": [{"c~d": FRESH}]}).encode())
    assert [one.value for one in found.fresh] == [FRESH]
    assert json.loads(found.written({"/a~1b/0/c~0d": "STAND-IN"})) == {"a/b": [{"c~d": "STAND-IN"}]}


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("sk-0123456789abcdefghij", True),
        ("sk-01234...cdefghijklmnop", False),
        ("sk-0123456789************ij", False),
        ("use sk-0123456789abcdefghij", False),
        ("sk-short", False),
        ("pk-0123456789abcdefghij", False),
        ("sk-STAND-IN-0123456789abc", False),
        (jwt({"sub": "someone"}), True),
        ("eyJhbGciOiJSU0EtT0FFUCJ9.key.vector.text.tag", True),
        ("eyJhbGciOiJSU0EtT0FFUCJ9.not.four-parts.x", False),
        ("eyJuZXh0IjoiYSBjdXJzb3IgaXMgbm8gSldUIn0", False),
    ],
)
def test_p1_what_looks_like_a_whole_token_is_seen(text, secret):
    document = {"a": [1, None, {"b": text}]}
    assert looks_secret(document, ["sk-"], lambda value: value.startswith("sk-STAND-IN")) is secret


@pytest.mark.parametrize(
    ("document", "secret"),
    [
        ({"a": {"id_token": "opaque-and-of-no-known-shape"}}, True),
        ({"client_secret": ["opaque-and-of-no-known-shape"]}, True),
        ({"refresh_token": "short"}, False),
        ({"refresh_token": None, "access_token": 12345678}, False),
        ({"access_token": "sk-STAND-IN-0123456789abc"}, False),
        ({"token_id": "opaque-and-of-no-known-shape"}, False),
    ],
)
def test_p1_what_stands_under_the_name_of_a_token_is_one(document, secret):
    assert looks_secret(document, [], lambda value: value.startswith("sk-STAND-IN")) is secret


def test_p1_a_readable_token_has_nothing_of_the_real_ones_signature():
    made = readable(jwt({"email": "a@b.test", "exp": 7, "sid": "private"}), ("email", "exp", "none"), "STAND-IN")
    header, claims, signature = made.split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {"alg": "none", "typ": "JWT"}
    assert json.loads(base64.urlsafe_b64decode(claims + "==")) == {"email": "a@b.test", "exp": 7}
    assert signature == "STAND-IN"


@pytest.mark.parametrize("token", ["x", "a.b.c", "..", jwt([1]), jwt({"email": "x" * 9000})])
def test_p5_what_is_no_such_token_is_a_failure(token):
    with pytest.raises(CaptureFailedError):
        readable(token, ("email",), "STAND-IN")


@pytest.mark.parametrize(
    ("kind", "body", "found"),
    [
        ("application/json", b'{"a": "x", "b": 1, "c": {"d": "y"}}', (("a", "x"),)),
        ("application/json", b'{"a": "x", "a": "y", "\\u0061": "z", "b": ["x"]}', (("a", "x"), ("a", "y"), ("a", "z"))),
        ("application/json", b'{"a": ' + b"9" * 5000 + b"}", None),
        ("application/json", b"{}", ()),
        ("application/x-www-form-urlencoded", b"a=x&a=y+z&b=", (("a", "x"), ("a", "y z"), ("b", ""))),
        ("text/plain", b"a=x", ()),
        ("", b"", ()),
        ("application/json", b"nonsense", None),
        ("application/x-www-form-urlencoded", "a=\u00fc".encode(), None),
    ],
)
def test_the_fields_of_a_body(kind, body, found):
    head = RequestHead(
        "POST", "https", Authority("x.test", 443), "/", ("",), None, (("content-type", kind),), has_body=True
    )
    assert body_fields(head, body) == found


@pytest.mark.parametrize(
    ("given", "status"), [("seconds", 200), ("a\r\nSet-Cookie: b", 404), ("\u20ac", 404), ("\0", 404)]
)
def test_what_a_request_says_makes_no_other_header_of_an_answer(given, status):
    spec = DocumentAnswer(kind="document", body="x", headers={"X-Said": "{param:said}"})
    head = RequestHead("GET", "http", Authority("x.test", 80), "/", ("",), None, (), has_body=False)
    holder = Holder(AccountId("widgets", "main"), {}, {})
    asked = Asked(head=head, params={"said": given}, fields={}, holder=holder, holders=(holder,), named=False, now_s=0)
    answer = spec.answer(asked)
    assert answer.status == status
    assert (b"x-said" in dict(answer.headers)) is (status == 200)
