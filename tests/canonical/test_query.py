"""Queries: read by name, taken away by name, set by name, else untouched."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.canonical import query_pairs, set_query, without_query
from proxy.canonical.query import WELL_FORMED

PIECE = st.from_regex(r"(?:[A-Za-z0-9._~=+;]|%[0-9A-F]{2}){0,8}", fullmatch=True)
QUERY = st.lists(PIECE, max_size=6).map("&".join)
NAME = st.sampled_from(["key", "access_token", "a", "b", "tok%65n", "KEY", "k[]", "x y"])


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        (None, ()),
        ("", ()),
        ("a=1", (("a", "1"),)),
        ("a", (("a", ""),)),
        ("a=1&b=2&a=3", (("a", "1"), ("b", "2"), ("a", "3"))),
        ("a=1;b=2", (("a", "1"), ("b", "2"))),
        ("a=x+y%20z", (("a", "x y z"),)),
        ("%61=%3D&b=c=d", (("a", "="), ("b", "c=d"))),
        ("&&", (("", ""), ("", ""), ("", ""))),
        ("a=%ff", (("a", "\ufffd"),)),
    ],
)
def test_pairs_are_decoded_and_in_order(query, pairs):
    assert query_pairs(query) == pairs


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("key=1", None),
        ("key", None),
        ("key=1&key=2", None),
        ("a=1&key=2&b=3", "a=1&b=3"),
        ("KEY=1&Key=2&a=1", "a=1"),
        ("k%65y=1&a=1", "a=1"),
        ("%6B%65%79=1&a=1", "a=1"),
        ("a=1;key=2", "a=1"),
        ("key=2;a=1", "a=1"),
        ("a=1&x=2;key=3;y=4", "a=1&x=2;y=4"),
        ("key;key&key", None),
        ("key=a=b&c", "c"),
        ("a=key", "a=key"),
        ("keys=1", "keys=1"),
        ("a=1&&b=2", "a=1&&b=2"),
        ("", ""),
        (None, None),
        ("a=%2B%20+[x]|y", "a=%2B%20+[x]|y"),
    ],
)
def test_p2_a_named_parameter_is_taken_away_however_it_is_spelt(query, left):
    assert without_query(query, {"key"}) == left


@given(QUERY, NAME)
def test_p2_nothing_of_that_name_is_left_and_nothing_else_is_touched(query, name):
    wanted = name.lower()
    left = without_query(query, {wanted})
    assert [pair for pair in query_pairs(left) if pair[0].lower() == wanted] == []
    assert [pair for pair in query_pairs(left) if pair[0]] == [
        pair for pair in query_pairs(query) if pair[0] and pair[0].lower() != wanted
    ]
    assert without_query(left, {wanted}) == left


@given(QUERY, NAME, st.text(alphabet=st.characters(codec="latin-1"), max_size=20))
def test_p2_a_set_parameter_stands_exactly_once_for_every_reader(query, name, value):
    ours = set_query(query, name, value)
    assert [pair for pair in query_pairs(ours) if pair[0].lower() == name.lower()] == [(name, value)]
    assert [v for k, v in parse_qsl(ours, keep_blank_values=True) if k.lower() == name.lower()] == [value]
    assert ours.endswith(f"{quote(name, safe='')}={quote(value, safe='')}")
    assert set_query(ours, name, value) == ours


def test_p8_a_set_value_cannot_bring_further_parameters():
    assert set_query("a=1", "key", "v&admin=1;x=2#y z") == "a=1&key=v%26admin%3D1%3Bx%3D2%23y%20z"


def test_p8_of_all_octets_only_those_of_a_query_pass():
    allowed = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~!$&'()*+,;=:@/?[]{}|^`-"
    passing = bytes(octet for octet in range(256) if WELL_FORMED.fullmatch(f"a{chr(octet)}b"))
    assert set(passing) == set(allowed)


@pytest.mark.parametrize("query", ["%", "%2", "%zz", "%u0041", "a=%00", "%%41", "a=1#x", "a=1\n"])
def test_p8_an_escape_is_whole_and_never_nul(query):
    assert WELL_FORMED.fullmatch(query) is None
