"""P8: a path that every parser reads in the same way, or none (C-01 to C-10)."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.canonical.path import canonical_path
from proxy.canonical.query import query_pairs, set_query, without_query
from proxy.errors import Denial

GOOD = {
    "/": ("/", ("",)),
    "/a": ("/a", ("a",)),
    "/a/": ("/a/", ("a", "")),
    "/a%20b/c": ("/a%20b/c", ("a b", "c")),
    "/%7euser": ("/~user", ("~user",)),
    "/%c3%a9": ("/%C3%A9", ("é",)),
    "/v1:run": ("/v1:run", ("v1:run",)),
    "/.well-known/x": ("/.well-known/x", (".well-known", "x")),
    "/a/...": ("/a/...", ("a", "...")),
    "/..a": ("/..a", ("..a",)),
    "/a@b,c=d": ("/a@b,c=d", ("a@b,c=d",)),
    "/100%25": ("/100%25", ("100%",)),
}
BAD = {
    "/..": "ambiguous_request", "/a/../b": "ambiguous_request", "/./a": "ambiguous_request", "/a/.": "ambiguous_request",
    "/%2e%2e/a": "ambiguous_request", "/.%2E/a": "ambiguous_request", "//": "ambiguous_request", "//a": "ambiguous_request",
    "/a//b": "ambiguous_request", "/a%2fb": "ambiguous_request", "/a%2Fb": "ambiguous_request", "/a%5cb": "ambiguous_request",
    "/a\\b": "ambiguous_request", "/a;b": "ambiguous_request", "/a%3Bb": "ambiguous_request", "/%252e%252e": "ambiguous_request",
    "/%2525": "ambiguous_request", "/a%00": "malformed_request", "/a%0d%0a": "malformed_request", "/a%7f": "malformed_request",
    "/a%zz": "malformed_request", "/a%": "malformed_request", "/a%u002e": "malformed_request", "/%ff": "malformed_request",
    "/%c0%ae": "malformed_request", "/%ed%a0%80": "malformed_request", "/a#b": "malformed_request", "/a b": "malformed_request",
    '/a"b': "malformed_request", "/é": "malformed_request", "/" + "a/" * 600: "uri_too_long",
}  # fmt: skip


@pytest.mark.parametrize(("path", "expected"), GOOD.items())
def test_p8_good_paths(path, expected):
    assert canonical_path(path, encoded_slash=False) == expected


@pytest.mark.parametrize(("path", "slug"), BAD.items())
def test_p8_bad_paths(path, slug):
    refused = canonical_path(path, encoded_slash=False)
    assert isinstance(refused, Denial)
    assert refused.slug == slug


def test_an_encoded_slash_is_data_where_the_profile_says_so():
    assert canonical_path("/projects/a%2fb", encoded_slash=True) == ("/projects/a%2Fb", ("projects", "a/b"))
    for path in ("/a%2F..%2fb", "/a%2F%2e%2e", "/%2e%2e%2fb", "/a%5cb", "/a%252fb"):
        assert isinstance(canonical_path(path, encoded_slash=True), Denial)


PIECES = st.lists(
    st.sampled_from(["/", ".", "..", "%2e", "%2F", "%5c", "a", "%41", ";", "%25", "2e", "%", "é", "\\", "//"]),
    max_size=8,
)


@given(PIECES, st.booleans())
def test_p8_what_is_accepted_is_stable_and_has_no_dot_segment_however_often_decoded(pieces, encoded_slash):
    result = canonical_path("/" + "".join(pieces), encoded_slash=encoded_slash)
    if isinstance(result, Denial):
        return
    path, segments = result
    assert canonical_path(path, encoded_slash=encoded_slash) == result
    text = path
    for _ in range(4):
        parts = text.replace("\\", "/").split("/")
        assert "." not in parts
        assert ".." not in parts
        text = unquote(text)
    assert len(segments) == path.count("/")


@pytest.mark.parametrize(
    ("query", "names", "left"),
    [
        ("a=1&key=2", {"key"}, "a=1"),
        ("KEY=1", {"key"}, None),
        ("%6bey=1&a=2", {"key"}, "a=2"),
        ("a=1;key=2", {"key"}, "a=1"),
        ("key", {"key"}, None),
        ("a=key", {"key"}, "a=key"),
        (None, {"key"}, None),
        ("a=b=c", set(), "a=b=c"),
    ],
)
def test_foreign_parameters_are_removed_however_they_are_written(query, names, left):
    assert without_query(query, names) == left


@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=10),
    st.text(max_size=20),
    st.sampled_from([None, "", "a=1", "a=1&b=2"]),
)
def test_a_parameter_is_set_exactly_once(name, value, query):
    once = set_query(set_query(query, name, "old"), name, value)
    pairs = [pair for pair in query_pairs(once) if pair[0].lower() == name.lower()]
    assert pairs == [(name, value)]
