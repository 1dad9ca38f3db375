"""Properties of stand-ins, and what a body or a name may not do to a credential (D-04, D-06)."""

from __future__ import annotations

import base64
import re

from hypothesis import given
from hypothesis import strategies as st

from proxy.catalog.schema import StandInShape
from proxy.credentials.standin import ALPHABETS, StandIn, StandIns, make
from proxy.model import AccountId, Authority, RequestHead

PREFIX = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,9}", fullmatch=True)
ACCOUNT = AccountId("alpha", "work")


def head(path="/x", query=None, headers=()):
    return RequestHead(
        "POST", "https", Authority("a.test", 443), path, tuple(path[1:].split("/")), query, tuple(headers), True
    )


@given(PREFIX, st.integers(16, 256), st.sampled_from(sorted(ALPHABETS)), st.binary(min_size=1, max_size=32))
def test_a_stand_in_has_its_vendors_shape(prefix, length, alphabet, key):
    value = make(StandInShape(prefix=prefix, length=length, alphabet=alphabet), key=key, purpose="p")
    assert value.startswith(prefix)
    assert set(value[len(prefix) :]) <= set(ALPHABETS[alphabet])
    assert len(value) == max(length, len(prefix) + 12)


@given(st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=8, unique=True))
def test_p6_another_purpose_is_another_stand_in(purposes):
    shape = StandInShape(template="{digits:10}:{base64url:35}")
    values = {make(shape, key=b"k" * 32, purpose=purpose) for purpose in purposes}
    assert len(values) == len(purposes)
    assert all(re.fullmatch(r"\d{10}:[\w-]{35}", value, re.ASCII) for value in values)


def test_p1_equal_parts_of_a_template_differ():
    first, _, second = make(StandInShape(template="{hex:32}.{hex:32}"), key=b"k", purpose="p").partition(".")
    assert first != second


TOKEN = st.from_regex(r"alp_[A-Za-z0-9]{20}", fullmatch=True)


@given(st.lists(TOKEN, min_size=2, max_size=2, unique=True), st.from_regex(r"[ -~]{0,10}", fullmatch=True))
def test_p2_a_stand_in_is_found_in_whatever_stands_around_it(tokens, around):
    token, other = tokens  # equal ones would make the other, one character longer, stand in the text too
    found = StandIn(token, "a", ACCOUNT, "token")
    stand_ins = StandIns([found, StandIn(other + "x", "b", ACCOUNT, "token")])
    for sent in (
        head(headers=[("authorization", f"{around}{token}{around}")]),
        head(headers=[("x-1", "v"), ("x-2", around + token)]),
        head(query=f"a=1&key={token}"),
        head(query="key=" + "".join(f"%{ord(c):02X}" for c in token)),
        head(path=f"/x/bot{token}/y"),
        head(
            headers=[
                ("authorization", "Basic " + base64.b64encode(f"{around.replace(':', '')}:{token}".encode()).decode())
            ]
        ),
    ):
        assert found in stand_ins.find(sent)


def test_p6_of_two_stand_ins_of_which_one_begins_the_other_the_longer_counts():
    token = "alp_" + "a" * 20
    short, long = StandIn(token, "a", ACCOUNT, "token"), StandIn(token + "x", "b", ACCOUNT, "token")
    for order in ([short, long], [long, short]):
        assert StandIns(order).find(head(headers=[("authorization", f"Bearer {token}x")])) == (long,)
        assert StandIns(order).find(head(headers=[("authorization", f"Bearer {token}")])) == (short,)


def test_p2_two_places_do_not_make_a_stand_in_together():
    token = "alp_" + "a" * 20
    stand_ins = StandIns([StandIn(token, "a", ACCOUNT, "token")])
    assert stand_ins.find(head(headers=[("a", token[:10]), ("b", token[10:])])) == ()
    assert stand_ins.find(head(headers=[(token, "v")])) == ()


def test_p1_masking_names_every_stand_in_and_leaves_the_rest():
    token, other = "alp_" + "a" * 20, "alp_" + "b" * 20
    stand_ins = StandIns([StandIn(token, "a", ACCOUNT, "token"), StandIn(other, "a", ACCOUNT, "other")])
    assert stand_ins.mask(f"/{token}/{other}{token}/c") == "/{token}/{other}{token}/c"
    assert stand_ins.mask("/c") == StandIns([]).mask("/c") == "/c"
