"""Stand-ins look like the vendor's tokens, are found where a credential can stand, and nowhere else."""

from __future__ import annotations

import base64
import re

import pytest

from proxy.catalog.loader import load_profiles, shipped
from proxy.catalog.schema import StandInShape
from proxy.credentials.standin import StandIn, StandIns, make
from proxy.credentials.strip import strip_foreign
from proxy.model import AccountId, Authority, RequestHead

WORK = AccountId("github", "work")
VALUE = "ghp_" + "Ab1" * 12
FOUND = StandIn(VALUE, "coder", WORK, "token")


def head(path="/x", query=None, headers=()):
    return RequestHead(
        "GET", "https", Authority("a.test", 443), path, tuple(path[1:].split("/")), query, tuple(headers), False
    )


@pytest.mark.parametrize("profile", load_profiles([shipped()]).values(), ids=lambda profile: profile.name)
def test_shapes_of_every_profile(profile):
    for slot in profile.secrets.values():
        value = make(slot.stand_in, key=b"k" * 32, purpose="a")
        assert value == make(slot.stand_in, key=b"k" * 32, purpose="a")
        assert value != make(slot.stand_in, key=b"k" * 32, purpose="b")
        assert value != make(slot.stand_in, key=b"l" * 32, purpose="a")
        assert re.fullmatch(r"[A-Za-z0-9_.:/-]{16,}", value), value


def test_a_template_has_as_many_characters_as_it_says():
    value = make(StandInShape(template="{digits:10}:{base64url:35}"), key=b"k", purpose="p")
    assert re.fullmatch(r"\d{10}:[A-Za-z0-9_-]{35}", value)


@pytest.mark.parametrize(
    "request_head",
    [
        head(headers=[("authorization", f"Bearer {VALUE}")]),
        head(headers=[("x-anything", VALUE)]),
        head(headers=[("authorization", "Basic " + base64.b64encode(f"x:{VALUE}".encode()).decode())]),
        head(headers=[("authorization", "basic " + base64.b64encode(f"{VALUE}:".encode()).decode())]),
        head(query=f"key={VALUE}"),
        head(query="key=" + VALUE.replace("_", "%5F")),
        head(path=f"/bot{VALUE}/x"),
    ],
)
def test_found_wherever_a_credential_can_stand(request_head):
    assert StandIns([FOUND]).find(request_head) == (FOUND,)


def test_not_found_in_what_only_looks_like_it():
    assert StandIns([FOUND]).find(head(headers=[("authorization", f"Bearer {VALUE[:-1]}")])) == ()
    assert StandIns([]).find(head(headers=[("authorization", f"Bearer {VALUE}")])) == ()


def test_receipts_name_it_instead():
    assert StandIns([FOUND]).mask(f"/bot{VALUE}/send") == "/bot{token}/send"


def test_d02_foreign_credentials_are_taken_off():
    dirty = head(
        query="a=1&access_token=x&secret_q=2",
        headers=[
            ("authorization", "x"),
            ("cookie", "a=b"),
            ("x-api-key", "x"),
            ("x-own", "x"),
            ("x-kept", "y"),
            ("x-theirs", "z"),
        ],
    )
    clean = strip_foreign(
        dirty, strip_headers=("X-Own",), strip_query=("secret_q",), owned_headers=("X-Theirs",), owned_query=()
    )
    assert clean.headers == (("x-kept", "y"),)
    assert clean.query == "a=1"
