"""P8: paths as every other reader may take them (C-01 to C-08, C-19); beside test_path.py."""

from __future__ import annotations

import itertools
import posixpath
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.canonical.path import MAX_SEGMENTS, canonical_path
from proxy.errors import Denial

PLAIN = {
    "/": ("/", ("",)),
    "/a": ("/a", ("a",)),
    "/a/": ("/a/", ("a", "")),
    "/a/b%20c": ("/a/b%20c", ("a", "b c")),
    "/%61/%7e%2D%5f": ("/a/~-_", ("a", "~-_")),
    "/caf%c3%a9": ("/caf%C3%A9", ("café",)),
    "/.well-known/x": ("/.well-known/x", (".well-known", "x")),
    "/...": ("/...", ("...",)),
    "/..a": ("/..a", ("..a",)),
    "/a..": ("/a..", ("a..",)),
    "/a...b": ("/a...b", ("a...b",)),
    "/%2egit": ("/.git", (".git",)),
    "/v1/models/gemini:generateContent": ("/v1/models/gemini:generateContent", ("v1", "models", "gemini:generateContent")),
    "/repos/a/b/compare/main...dev": ("/repos/a/b/compare/main...dev", ("repos", "a", "b", "compare", "main...dev")),
    "/a!$&'()*+,=:@b": ("/a!$&'()*+,=:@b", ("a!$&'()*+,=:@b",)),
    "/100%25": ("/100%25", ("100%",)),
    "/%EF%BC%8F": ("/%EF%BC%8F", ("／",)),
    "/a%3Fb%23c": ("/a%3Fb%23c", ("a?b#c",)),
}  # fmt: skip
AMBIGUOUS = (
    "/.", "/..", "/./", "/../", "/a/.", "/a/..", "/a/./b", "/a/../b", "/public/../admin", "/%2e", "/%2e%2e", "/%2E%2e/x",
    "/.%2e", "/%2e.", "/a/%2e%2e/b", "//", "//a", "/a//b", "/a//", "//evil.test/x", "/a/b//", "/a%2fb", "/a%2Fb", "/%2f",
    "/%2F%2e%2e", "/a\\b", "/\\evil", "/a%5cb", "/a%5C..%5Cb", "/a;b", "/a;x=1/b", "/..;/admin", "/a%3bb", "/%3B",
    "/%252e%252e/x", "/%252f", "/a%252Fb", "/%25%32%65", "/%2525", "/%25252e", "/a%2541", "/%255c", "/%253b",
)  # fmt: skip
MALFORMED = (
    "", "a", "a/b", "*", "/a b", "/a\tb", "/a\nb", "/a\r\nb", "/a\x00b", "/a\x7fb", "/a#b", "/a?b", '/a"b', "/a<b>", "/a|b", "/a^b",
    "/a`b", "/a{b}", "/a[b]", "/é", "/a\u2215b", "/a／b", "/%", "/%2", "/%zz", "/%u002e", "/%%32e", "/a%", "/%00", "/a%00.txt",
    "/%0a", "/%0D%0A", "/%1f", "/%7f", "/%7F", "/%09", "/%ff", "/%c0%ae", "/%c0%ae%c0%ae/x", "/%e0%80%af", "/%ed%a0%80",
    "/%c3", "/%80", "/a%C3/b%A9",
)  # fmt: skip
SPICE = st.lists(
    st.sampled_from(
        ["/", "/", ".", "..", "a", "b", "%2e", "%2E", "%2f", "%2F", "%5c", "\\", ";", "%3b", "%25", "%252e", "%61", "%c3%a9", "%00",
         "%ff", "%20", "//", "é", "?", "#", "%", "2e", "2f", "~", ":", "%7e"]
    ),
    max_size=12,
).map(lambda pieces: "/" + "".join(pieces))  # fmt: skip


@pytest.mark.parametrize("encoded_slash", [False, True])
@pytest.mark.parametrize("path", PLAIN)
def test_p8_a_path_has_one_form(path, encoded_slash):
    assert canonical_path(path, encoded_slash=encoded_slash) == PLAIN[path]


@pytest.mark.parametrize("path", AMBIGUOUS)
def test_p8_a_path_with_two_readings_is_refused(path):
    refused = canonical_path(path, encoded_slash=False)
    assert isinstance(refused, Denial), refused
    assert (refused.slug, refused.by) == ("ambiguous_request", "canonical")


@pytest.mark.parametrize("path", MALFORMED)
@pytest.mark.parametrize("encoded_slash", [False, True])
def test_p8_a_path_that_no_url_may_have_is_refused(path, encoded_slash):
    refused = canonical_path(path, encoded_slash=encoded_slash)
    assert isinstance(refused, Denial), refused
    assert refused.slug in ("malformed_request", "ambiguous_request")


def test_p8_of_all_octets_only_those_of_a_url_pass():
    for octet in range(256):
        passes = isinstance(canonical_path(f"/x{chr(octet)}y", encoded_slash=False), tuple)
        assert passes == (chr(octet) in "/._~!$&'()*+,=:@-" or (octet < 128 and chr(octet).isalnum())), octet


def test_p8_of_all_escapes_only_those_with_one_reading_pass():
    for octet in range(256):
        found = canonical_path(f"/x%{octet:02x}y", encoded_slash=False)
        forbidden = octet < 0x20 or octet >= 0x7F or chr(octet) in "/\\;"
        assert isinstance(found, Denial) == forbidden, octet
        assert forbidden or found[1] == (f"x{chr(octet)}y",)


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/projects/group%2Fproject", ("projects", "group/project")),
        ("/projects/group%2fsub%2Fproject/issues", ("projects", "group/sub/project", "issues")),
        ("/files/src%2F.gitignore/raw", ("files", "src/.gitignore", "raw")),
        ("/files/a%2Fb..c", ("files", "a/b..c")),
    ],
)
def test_an_encoded_slash_is_data_where_the_profile_says_so(path, segments):
    found = canonical_path(path, encoded_slash=True)
    assert found == (path.replace("%2f", "%2F"), segments)


@pytest.mark.parametrize(
    "path",
    [
        "/a%2F..", "/a%2F..%2Fb", "/..%2Fa", "/%2e%2e%2Fa", "/a%2F%2e%2e", "/a%2F.%2Fb", "/.%2Fa", "/a%2F.", "/%2F", "/%2Fa", "/a%2F",
        "/a%2F%2Fb", "/a%2F%252e%252e", "/a%252F", "/a%2F%5C", "/a%2Fb;c", "/a%2F/b", "/x/%2F%2Fevil.test",
    ],
)  # fmt: skip
def test_p8_an_encoded_slash_opens_no_way_up(path):
    refused = canonical_path(path, encoded_slash=True)
    assert isinstance(refused, Denial), refused
    assert refused.slug == "ambiguous_request"


def fully_decoded(path):
    while (once := unquote(path)) != path:
        path = once
    return path.replace("\\", "/")


@given(SPICE, st.booleans())
def test_p8_what_passes_stays_where_it_is_for_every_reader(path, encoded_slash):
    found = canonical_path(path, encoded_slash=encoded_slash)
    if isinstance(found, Denial):
        return
    wire, segments = found
    assert canonical_path(wire, encoded_slash=encoded_slash) == found
    assert unquote(wire) == unquote(path)
    bare = fully_decoded(wire)
    assert not {".", ".."} & set(bare.split("/"))
    assert "//" not in bare
    assert posixpath.normpath(bare) == (bare.rstrip("/") or "/")
    assert segments == tuple(unquote(piece) for piece in wire[1:].split("/"))
    assert encoded_slash or not any("/" in segment for segment in segments)


@pytest.mark.parametrize("steps", [("admin",), ("a", "admin"), ("..",)])
def test_p8_no_encoding_of_a_traversal_gets_through(steps):
    dots = ("..", "%2e%2e", ".%2E", "%252e%252e", "..;", "%c0%ae%c0%ae", "%u002e.", "..%00", "..%09", "%2e%252e")
    slashes = ("/", "%2f", "%5c", "\\", "%252f", "%c0%af", "//", "/./")
    for dot, slash, encoded in itertools.product(dots, slashes, (False, True)):
        path = f"/public{slash}{dot}{slash}" + slash.join(steps)
        assert isinstance(canonical_path(path, encoded_slash=encoded), Denial), path


@pytest.mark.parametrize("piece", ["a", "a%20", ".a"])
def test_p7_a_path_has_so_many_segments_at_most(piece):
    most = "/" + "/".join([piece] * MAX_SEGMENTS)
    assert isinstance(canonical_path(most, encoded_slash=False), tuple)
    refused = canonical_path(f"{most}/{piece}", encoded_slash=False)
    assert isinstance(refused, Denial)
    assert refused.slug == "uri_too_long"
