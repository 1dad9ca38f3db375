"""P8: calls that a server may read otherwise than we did belong to no operation (B-28, C-09, D-11, A-16)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.canonical.path import canonical_path
from proxy.catalog.checks import bad_host, overlaps, profile_mistakes
from proxy.catalog.matcher import Catalog
from proxy.catalog.schema import HostRule, Profile
from proxy.documents import Document
from proxy.errors import ConfigError
from proxy.model import Authority, RequestHead

TEXT = """\
schema: 1
name: sample
title: Sample
docs: https://example.com
checked: "2026-11-24"
hosts: [{host: api.example.com}]
secrets: {key: {}}
credentials:
  key: {kind: header, secret: key}
  segment: {kind: path, segment: 0, template: "bot{key}"}
operations:
  - {id: list, methods: [POST], path: /rpc, query: {do: list}, action: read}
  - {id: delete, methods: [POST], path: /rpc, query: {do: delete}, action: admin}
  - {id: other, methods: [POST], path: /rpc, action: write}
  - {id: preview, methods: [PUT], path: "/**", headers: {X-Mode: preview}, action: read}
  - {id: real, methods: [PUT], path: "/**", action: write}
  - {id: get, methods: [GET], path: "/{id}", action: read}
  - {id: get.nested, methods: [GET], path: "/v1/**", action: read}
"""


def profile(text=TEXT, **updates):
    return Document("sample.yaml", text).validated(Profile).model_copy(update=updates)


def head(method, target, headers=(), host="api.example.com", port=443, scheme="https"):
    path, mark, query = target.partition("?")
    normal = canonical_path(path, encoded_slash=True)
    assert isinstance(normal, tuple)
    return RequestHead(method, scheme, Authority(host, port), *normal, query if mark else None, tuple(headers), False)


def operation(*call, **around):
    match = Catalog([profile()]).match(head(*call, **around))
    assert match is not None
    return match.operation.id if match.operation else None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("do=list", "list"),
        ("do=delete", "delete"),
        ("d%6F=delet%65", "delete"),
        ("x=1&do=list&y", "list"),
        ("", "other"),
        ("do=export", "other"),
        ("Do=delete", "other"),
        ("x=1;y=2", "other"),
        ("do=list&do=delete", None),
        ("do=delete&d%6f=list", None),
        ("do=list&do=list", None),
        ("do=list;do=delete", None),
        ("x=1;do=list", None),
        ("do=list;x=1", None),
        ("do=list&x=a;b", None),
    ],
)
def test_p8_c09_a_parameter_that_decides_has_one_reading(query, expected):
    assert operation("POST", f"/rpc?{query}") == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [(["preview"], "preview"), (["other"], "real"), ([], "real"), (["preview", "real"], None), (["preview", "preview"], None), (["", "preview"], None)],
)  # fmt: skip
def test_p8_b28_a_header_that_decides_stands_once(values, expected):
    assert operation("PUT", "/x", [("x-mode", value) for value in values]) == expected


@pytest.mark.parametrize(
    ("target", "expected"), [("/a", "get"), ("/a%2Fb", "get"), ("/v1%2Fadmin", "get"), ("/v1", "get.nested"), ("/v1/a", "get.nested"), ("/", None), ("/a/", None), ("/a/b", None)]
)  # fmt: skip
def test_an_encoded_slash_never_changes_the_operation(target, expected):
    assert operation("GET", target) == expected


SEGMENT = st.sampled_from(["a", "b", "rpc", "v1", "x%20y"])


@given(st.lists(SEGMENT, min_size=1, max_size=5), st.sampled_from(["GET", "POST", "PUT", "DELETE"]))
def test_a_call_that_no_operation_lists_has_none(segments, method):
    expected = {
        "GET": "get.nested" if segments[0] == "v1" else "get" if len(segments) == 1 else None,
        "POST": "other" if segments == ["rpc"] else None,
        "PUT": "real",
        "DELETE": None,
    }[method]
    assert operation(method, "/" + "/".join(segments)) == expected


def rules(*, whole, part):
    return (
        profile(name="whole", hosts=(HostRule(host="api.example.com", paths=whole),)),
        profile(name="part", hosts=(HostRule(host="api.example.com", paths=part),)),
    )


@pytest.mark.parametrize(
    ("whole", "part", "target", "expected"),
    [
        (("/",), ("/a",), "/a/x", "part"),
        (("/",), ("/a",), "/ab", "whole"),
        (("/", "/very/long/prefix"), ("/a",), "/a/x", "part"),
        (("/", "/very/long/prefix"), ("/a",), "/very/long/prefix/x", "whole"),
        (("/b",), ("/a",), "/c", None),
        (("/a",), ("/a/b",), "/a/b", "part"),
        (("/a",), ("/a/b",), "/a%2Fb", None),
        (("/a",), ("/a/",), "/a/x", "part"),
        (("/a",), ("/a/",), "/a", "whole"),
    ],
)
def test_p2_d11_the_longest_prefix_decides_whose_credential_is_used(whole, part, target, expected):
    for order in (1, -1):
        profiles = rules(whole=whole, part=part)[::order]
        assert not overlaps(profiles[0].hosts[0], profiles[1].hosts[0])
        match = Catalog(profiles).match(head("PUT", target))
        assert (match.profile.name if match else None) == expected


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ({"host": "a.test"}, {"host": "a.test"}, True),
        ({"host": "a.test"}, {"host": "a.test", "scheme": "http"}, True),
        ({"host": "a.test"}, {"host": "a.test", "port": 8443}, False),
        ({"host": "a.test"}, {"host": "b.test"}, False),
        ({"host": "*.a.test"}, {"host": "*.a.test"}, True),
        ({"host": "*.a.test"}, {"host": "x.a.test"}, False),
        ({"host": "a.test", "paths": ("/x", "/y")}, {"host": "a.test", "paths": ("/z", "/y")}, True),
        ({"host": "a.test", "paths": ("/x",)}, {"host": "a.test", "paths": ("/y",)}, False),
        ({"host": "a.test", "paths": ("/aa", "/b")}, {"host": "a.test", "paths": ("/aa/x", "/cc")}, False),
    ],
)
def test_d11_rules_that_tie_are_found(one, other, meet):
    assert overlaps(HostRule(**one), HostRule(**other)) == meet
    assert overlaps(HostRule(**other), HostRule(**one)) == meet


WILD = ("*.example.com", "*.api.example.com")
REFUSED = (
    "*", "*.", "*.com", "*.co.uk", "*.github.io", "*.s3.amazonaws.com", "*.herokuapp.com", "*.vercel.app", "*.pages.dev", "*.localhost",
    "*.*.example.com", "a.*.example.com", "*a.example.com", "a*.example.com", "**.example.com", "*.1.2.3.4", "*.0x7f.1", "*.[::1]", "*.::1",
    "API.example.com", "api.example.com.", "api..com", ".example.com", "api.example.com:443", "https://api.example.com", "api_x.example.com",
    "аpi.example.com", "127.1", "0177.0.0.1", "2130706433", "[::1]", "::0:1", "", " api.example.com", "api.example.com/x", "u@api.example.com",
)  # fmt: skip


@pytest.mark.parametrize("host", [*WILD, "api.example.com", "192.0.2.1", "::1", "localhost"])
def test_hosts_that_a_profile_may_name(host):
    assert bad_host(host) is None


@pytest.mark.parametrize("host", REFUSED)
def test_p2_a16_hosts_that_it_may_not(host):
    assert bad_host(host) is not None


@given(st.from_regex(r"[a-z0-9.-]{0,12}", fullmatch=True), st.sampled_from(["before", "after", "inside"]))
def test_p2_a16_near_misses_of_a_host_belong_to_nobody(noise, where):
    catalog = Catalog([profile(hosts=(HostRule(host="api.example.com"), HostRule(host="*.wild.example.com")))])
    name = "api.example.com"
    near = {"before": noise + name, "after": name + noise, "inside": f"api{noise}.example.com"}[where]
    assert (catalog.host(near, 443) is not None) == (near == name)
    under = f"{noise}.wild.example.com"
    assert (catalog.host(under, 443) is not None) == ("." not in noise)


TOKEN = "bot123456:AgentsOwnToken"


@pytest.mark.parametrize(("scheme", "port"), [("https", 443), ("http", 80), ("https", 8443), ("http", 443)])
def test_p1_a_receipt_never_shows_the_segment_in_which_a_credential_stands(scheme, port):
    shown = Catalog([profile()]).receipt_path(head("GET", f"/{TOKEN}/send", scheme=scheme, port=port))
    assert shown == "/{credential}/send"
    assert Catalog([profile()]).receipt_path(head("GET", "/rpc/send")) == "/rpc/send"
    assert Catalog([profile()]).receipt_path(head("GET", f"/{TOKEN}/send", host="other.test")) == f"/{TOKEN}/send"


SLOT = "secrets: {key: {}}"


@pytest.mark.parametrize(
    ("shape", "place"),
    [
        ('{template: "sk-fixed"}', "secrets.key.stand_in.template"),
        ('{template: "sk-{hex:11}"}', "secrets.key.stand_in.template"),
        ('{template: "sk {hex:40}"}', "secrets.key.stand_in"),
        ('{prefix: "sk\\n"}', "secrets.key.stand_in"),
        ('{prefix: "ské"}', "secrets.key.stand_in"),
    ],
)
def test_p6_a_stand_in_that_others_could_share_or_no_header_can_hold_is_refused(shape, place):
    text = TEXT.replace(SLOT, f"secrets: {{key: {{stand_in: {shape}}}}}")
    document = Document("sample.yaml", text)
    found = [str(document.finding(*mistake)) for mistake in profile_mistakes(document.validated(Profile))]
    assert len(found) == 1
    assert found[0].startswith(f"sample.yaml:7: {place}: ")


@pytest.mark.parametrize(
    "shape", ['{template: "sk-{hex:12}"}', '{template: "{digits:6}:{hex:6}"}', "{prefix: sk-, length: 16}"]
)
def test_a_stand_in_with_enough_of_its_own_is_not(shape):
    assert list(profile_mistakes(profile(TEXT.replace(SLOT, f"secrets: {{key: {{stand_in: {shape}}}}}")))) == []


SAME_PLACE = (
    "[{kind: header, secret: key}, {kind: basic, password: '{key}'}]",
    "[{kind: header, header: Cookie, secret: key}, {kind: cookie, cookie: a, secret: key}]",
    "[{kind: cookie, cookie: a, secret: key}, {kind: cookie, cookie: b, secret: key}]",
    "[{kind: query, parameter: k, secret: key}, {kind: query, parameter: K, secret: key}]",
    "[{kind: header, header: X-A, secret: key}, {kind: header, header: x-a, secret: key}]",
)


@pytest.mark.parametrize("parts", SAME_PLACE)
def test_of_several_parts_none_takes_the_place_of_another(parts):
    text = TEXT.replace("{kind: header, secret: key}", f"{{kind: several, parts: {parts}}}")
    with pytest.raises(ConfigError, match="same place"):
        profile(text)
