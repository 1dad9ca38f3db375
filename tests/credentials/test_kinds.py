"""Where each kind puts the credential: exactly there, exactly once."""

from __future__ import annotations

import base64

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError

from proxy.credentials import CredentialSpec
from proxy.credentials.kind import Credential, Moment
from proxy.credentials.standin import StandIn, StandIns
from proxy.errors import Refused
from proxy.model import AccountId, Authority, RequestHead
from proxy.secret import Secret

VALUE = "s3cret-value/+="
HEAD = RequestHead(
    "POST",
    "https",
    Authority("a.test", 443),
    "/bot-x/send",
    ("bot-x", "send"),
    "a=1&key=mine",
    (("authorization", "mine"), ("x", "y")),
    True,
)
ADAPTER = TypeAdapter(CredentialSpec)


def present(body: bytes | None = None, head: RequestHead = HEAD, secrets: dict[str, str] | None = None, **fields):
    kind = ADAPTER.validate_json(orjson.dumps(fields))
    values = {name: Secret(name, value) for name, value in (secrets or {"key": VALUE, "other": "0ther-value"}).items()}
    with pytest.raises(StopIteration) as ended:
        next(kind.prove(Credential(values), head, body, Moment(0)))
    return ended.value.value


def header(presented, name: str) -> list[str]:
    return [value for key, value in presented.head.headers if key == name]


def test_header():
    assert header(present(kind="header", prefix="Bearer ", secret="key"), "authorization") == [f"Bearer {VALUE}"]
    template = present(kind="header", header="X-Both", template="{key}:{other}", add_headers={"X-Version": "2"})
    assert header(template, "x-both") == [f"{VALUE}:0ther-value"]
    assert header(template, "x-version") == ["2"]
    assert header(template, "authorization") == ["mine"]


def test_a_template_is_filled_in_one_pass():
    filled = present(kind="header", header="X", template="{key}", secrets={"key": "{other}-{key}", "other": "never"})
    assert header(filled, "x") == ["{other}-{key}"]


def test_basic():
    (value,) = header(present(kind="basic", username="x-access-token", password="{key}"), "authorization")
    assert base64.b64decode(value.removeprefix("Basic ")).decode() == f"x-access-token:{VALUE}"


def test_query():
    assert present(kind="query", parameter="key", secret="key").head.query == "a=1&key=s3cret-value%2F%2B%3D"


@pytest.mark.parametrize(
    "fields",
    [{"kind": "header", "secret": "key", "prefix": "Bearer x\r\nX-Evil: 1 "}, {"kind": "header", "template": "{key}\n"},
     {"kind": "header", "secret": "key", "add_headers": {"X-Version": "2\r\nX-Evil: 1"}}, {"kind": "header", "secret": "key", "prefix": "\0"},
     {"kind": "header", "secret": "key", "prefix": "\u20ac "}],
)  # fmt: skip
def test_p8_a_profile_that_would_end_a_header_is_refused(fields):
    with pytest.raises(Refused):
        present(**fields)


def test_a_secret_that_is_not_ascii_arrives_as_the_bytes_that_it_is():
    secrets = {"key": "gr\u00fc\u00df-1234"}
    assert present(kind="query", parameter="k", secret="key", secrets=secrets).head.query.endswith(
        "&k=gr%C3%BC%C3%9F-1234"
    )
    form = {"kind": "body_field", "format": "form", "pointer": "k", "secret": "key"}
    assert present(b"a=%FF&b=%C3%A9", secrets=secrets, **form).body == b"a=%FF&b=%C3%A9&k=gr%C3%BC%C3%9F-1234"
    kept = b'{"id":12345678901234567890123,"t":"\xc3\xa9","k":"gr\xc3\xbc\xc3\x9f-1234"}'
    field = {"kind": "body_field", "format": "json", "pointer": "/k", "secret": "key"}
    assert present(kept.replace(b"gr\xc3\xbc\xc3\x9f-1234", b"x"), secrets=secrets, **field).body == kept
    with pytest.raises(Refused):
        present(b"{}", secrets={"key": b"\xff-12345678"}, **field)


@pytest.mark.parametrize("name", ["alg", "crit", "b64", "nonce"])
def test_a_profile_says_nothing_of_a_request_jwts_signature(name):
    with pytest.raises(ValidationError):
        ADAPTER.validate_json(orjson.dumps({"kind": "request_jwt", "claims": {}, "jose": {name: "none"}}))


def test_a_secret_in_a_message_is_text():
    rules = [{"pointer": "/t"}]
    kind = ADAPTER.validate_json(orjson.dumps({"kind": "frames", "secret": "key", "rules": rules}))
    stand_in = StandIn("stand-in-0123456789", "agent", AccountId("a", "b"), "key")
    for value, good in (("gr\u00fc\u00df-1234", True), (b"\xff-1234567", False)):
        credential, known = Credential({"key": Secret("key", value)}), StandIns([stand_in])
        if good:
            rewriter = kind.rewriter(credential, known, stand_in.value)
            assert orjson.loads(rewriter.rewritten(b'{"t":"stand-in-0123456789"}')) == {"t": value}
        else:
            with pytest.raises(Refused):
                kind.rewriter(credential, known, stand_in.value)


def test_p5_a_user_name_with_a_colon_would_be_another_name():
    with pytest.raises(Refused):
        present(kind="basic", username="{key}", password="{other}", secrets={"key": "ada:x", "other": "password"})


def test_path():
    presented = present(kind="path", segment=0, template="bot{key}")
    assert presented.head.path == "/bots3cret-value%2F+=/send"
    assert presented.head.segments == ("bot" + VALUE, "send")
    with pytest.raises(Refused):
        present(kind="path", segment=5, template="bot{key}")


def test_cookie():
    assert header(present(kind="cookie", cookie="session", secret="key"), "cookie") == [f"session={VALUE}"]
    with pytest.raises(Refused):
        present(kind="cookie", cookie="session", secret="key", secrets={"key": "a;b=c-d-e-f"})


def test_several():
    parts = [{"kind": "header", "header": "A", "secret": "key"}, {"kind": "header", "header": "B", "secret": "other"}]
    presented = present(kind="several", parts=parts)
    assert (header(presented, "a"), header(presented, "b")) == ([VALUE], ["0ther-value"])


@pytest.mark.parametrize(
    ("form", "pointer", "body", "expected"),
    [
        ("json", "/token", b'{"token":"x","a":1}', {"token": VALUE, "a": 1}),
        ("json", "/auth/key", b'{"auth":{}}', {"auth": {"key": VALUE}}),
        ("json", "/a~1b", b"{}", {"a/b": VALUE}),
        ("json", "/token", b"", {"token": VALUE}),
    ],
)
def test_body_field_json(form, pointer, body, expected):
    presented = present(kind="body_field", format=form, pointer=pointer, secret="key", body=body)
    assert orjson.loads(presented.body) == expected


def test_body_field_form():
    presented = present(
        kind="body_field", format="form", pointer="token", secret="key", body=b"token=x&a=b%20c&token=y"
    )
    assert presented.body == b"a=b+c&token=s3cret-value%2F%2B%3D"


@pytest.mark.parametrize("body", [b"[]", b"nope", b'{"auth":1}', b"\xff"])
def test_p5_a_body_that_cannot_hold_it_is_refused(body):
    with pytest.raises(Refused):
        present(kind="body_field", format="json", pointer="/auth/key", secret="key", body=body)


@pytest.mark.parametrize(
    "value", ["line\r\nbreak-value", "nul\0nul-value", " leading-space", "trailing-space ", "tab\tinside"]
)
def test_p8_a_secret_that_would_break_the_request_is_refused(value):
    with pytest.raises(Refused) as refused:
        present(kind="header", secret="key", secrets={"key": value})
    assert refused.value.denial.slug == "credential_unavailable"
    assert value not in str(refused.value)
