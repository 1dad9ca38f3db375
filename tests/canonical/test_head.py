"""P2, P8: a raw head becomes the one canonical head, or a refusal (A-29, B-01 to B-30, C-10, C-11, D-03, D-17)."""

from __future__ import annotations

import base64
import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.canonical import HeadLimits, Place, canonical_head
from proxy.errors import Denial
from proxy.model import Authority, RawHead, RequestHead

API = Authority("api.example.com", 443)
LIMITS = HeadLimits(max_headers=20, max_header_bytes=2000, max_uri_bytes=500)
HOST = (b"Host", b"api.example.com")
KEY = base64.b64encode(b"0123456789abcdef")
SOCKET = (
    (b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Version", b"13"), (b"Sec-WebSocket-Key", KEY),
)  # fmt: skip


def raw(*headers, method=b"GET", target=b"/x", host=HOST, end_stream=True, version="HTTP/1.1"):
    return RawHead(method, target, b"", b"", ((host,) if host else ()) + headers, version, end_stream)


def raw2(*headers, authority=b"api.example.com", scheme=b"https", target=b"/x", method=b"GET", end_stream=True):
    return RawHead(method, target, authority, scheme, headers, "HTTP/2.0", end_stream)


def judged(head, *, connect=API, sni="api.example.com", limits=LIMITS, encoded_slash=False):
    return canonical_head(head, place=Place(connect=connect), sni=sni, limits=limits, encoded_slash=encoded_slash)


def slug(head, **around):
    found = judged(head, **around)
    assert isinstance(found, Denial), found
    assert found.by == "canonical"
    return found.slug


def names(head):
    return {name for name, _ in head.headers}


def test_p8_the_canonical_form_of_a_plain_request():
    head = judged(raw((b"Accept", b" text/html\t"), (b"X-A", b"1"), (b"x-a", b"2"), target=b"/%7Ea/b%20c?q=%20x"))
    assert head == RequestHead(
        "GET", "https", API, "/~a/b%20c", ("~a", "b c"), "q=%20x", (("accept", "text/html"), ("x-a", "1"), ("x-a", "2")),
        has_body=False,
    )  # fmt: skip


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"])
def test_methods_that_are_carried(method):
    assert judged(raw(method=method)).method == method.decode()


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        *((m, "method_not_allowed") for m in (b"TRACE", b"TRACK", b"CONNECT", b"get", b"Get", b"PURGE", b"PROPFIND", b"M-SEARCH", b"PRI", b"x" * 64)),
        *((m, "malformed_request") for m in (b"", b" GET", b"GET ", b"GE T", b"GET\n", b"G\0T", b"G\xc3\x89T", b"GET\r\nX:", b"x" * 65, b"(GET)")),
    ],
)  # fmt: skip
def test_p8_methods_that_are_not(method, expected):
    assert slug(raw(method=method)) == expected


AGREE = (b"api.example.com", b"API.example.com", b"api.example.com.", b"api.example.com:443")
DIFFER = (
    b"other.example.com", b"api.example.com:8443", b"api.example.com:80", b"xapi.example.com", b"api.example.com.evil.test", b"",
    b"api.example.com@evil.test", b"user@api.example.com", b"api.example.com, evil.test", b"api.example.com evil.test",
    b"169.254.169.254", b"[::1]", b"api.example.com:443:443", b"api.example.com#", b"api.example.com/", b"\xd0\xb0pi.example.com",
)  # fmt: skip


@pytest.mark.parametrize("host", AGREE)
def test_a29_one_authority_however_it_is_spelt(host):
    assert judged(raw(host=(b"Host", host))).authority == API
    assert judged(raw2(authority=host)).authority == API
    assert judged(raw(target=b"https://" + host + b"/x", host=(b"Host", host))).authority == API


@pytest.mark.parametrize("host", DIFFER)
def test_p2_a29_a_host_that_differs_is_refused(host):
    assert slug(raw(host=(b"Host", host))) == "authority_mismatch"
    assert slug(raw2(authority=host)) == "authority_mismatch"
    assert slug(raw2((b"host", host))) == "authority_mismatch"
    assert isinstance(judged(raw(target=b"https://" + host + b"/x")), Denial)


SERVER_NAMES = {"api.example.com": True, "API.Example.com.": True, None: True, "": False, "evil.test": False, "api.example.co": False,
                "example.com": False, "xapi.example.com": False, "api.example.com..": False}  # fmt: skip


@pytest.mark.parametrize(("sni", "agrees"), SERVER_NAMES.items())
def test_p2_a29_the_tls_server_name_must_agree(sni, agrees):
    assert isinstance(judged(raw(), sni=sni), RequestHead) == agrees
    assert isinstance(judged(raw2(), sni=sni), RequestHead) == agrees


def test_p2_a29_every_mixture_of_connect_server_name_and_host_is_refused():
    hosts = ("api.example.com", "other.example.com", "evil.test")
    for connect, sni, host in itertools.product(hosts, (*hosts, None), hosts):
        found = judged(raw(host=(b"Host", host.encode())), connect=Authority(connect, 443), sni=sni)
        agrees = connect == host and sni in (connect, None)
        assert isinstance(found, RequestHead) == agrees, (connect, sni, host)
        assert agrees or found.slug == "authority_mismatch"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (raw(host=None), "malformed_request"),
        (raw(HOST), "malformed_request"),
        (raw((b"HOST", b"evil.test")), "malformed_request"),
        (raw(HOST, version="HTTP/1.0"), "malformed_request"),
        (raw2((b"host", b"evil.test")), "authority_mismatch"),
        (raw2(scheme=b"http"), "malformed_request"),
        (raw2(scheme=b"HTTPS"), "malformed_request"),
        (raw2(scheme=b""), "malformed_request"),
        (raw2(scheme=b"ftp"), "malformed_request"),
        (raw2(target=b"https://api.example.com/x"), "malformed_request"),
    ],
)
def test_b11_there_is_exactly_one_host(head, expected):
    assert slug(head) == expected


def test_http_1_0_may_leave_the_host_to_the_tunnel():
    assert judged(raw(host=None, version="HTTP/1.0")).authority == API


BAD_TARGETS = (
    b"", b"x", b"*", b"?q", b"ftp://api.example.com/x", b"file:///etc/passwd", b"unix:/run/x", b"gopher://a/",
    b"ws://api.example.com/", b"wss://api.example.com/", b"https:/api.example.com/x", b"https:api.example.com", b"https://", b"https:///x",
    b"https://user:pw@api.example.com/", b"https://api.example.com\\@evil.test/", b"https://api.example.com#@evil.test/",
    b"https://api.example.com:/", b"https://api.example.com%00/", b"https://api.example.com%2f/x", b"javascript:1", b" /x", b"/x y",
    b"/x HTTP/1.1\r\nHost: evil.test", b"/x#y", b"/x?a#b", b"/x\n", b"/x?a\r\nb", b"/\xc3\xa9", b"/x?\xff", b"/x?%00", b"/x?a b", b"\\x", b"/x?%",
    b"/x\x00", b"api.example.com:443", b'/x?"', b"/x?<>",
)  # fmt: skip


@pytest.mark.parametrize("target", BAD_TARGETS)
def test_p8_a_target_is_a_path_or_our_url_and_nothing_else(target):
    assert slug(raw(target=target)) == "malformed_request"
    assert slug(raw2(target=target)) == "malformed_request"


@pytest.mark.parametrize(
    "target",
    [
        b"//evil.test/x",
        b"/a/../b",
        b"/a%2fb",
        b"/a;b",
        b"/a\\b",
        b"/%252e",
        b"https://api.example.com//x",
        b"https://api.example.com/..",
    ],
)
def test_p8_an_ambiguous_path_is_refused_in_every_form(target):
    assert slug(raw(target=target)) == "ambiguous_request"


@pytest.mark.parametrize(
    ("target", "host"), [(b"http://api.example.com/x", HOST), (b"http://api.example.com:443/x", HOST)]
)
def test_a18_no_plain_http_inside_a_tunnel(target, host):
    assert slug(raw(target=target, host=host)) in ("authority_mismatch", "malformed_request")


def test_an_encoded_slash_is_the_profiles_choice():
    assert slug(raw(target=b"/a%2fb")) == "ambiguous_request"
    assert judged(raw(target=b"/a%2fb"), encoded_slash=True).segments == ("a/b",)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [(b"/", "/", None), (b"/x?", "/x", ""), (b"/x?a?b=/c", "/x", "a?b=/c"), (b"https://api.example.com", "/", None), (b"https://api.example.com?a=1", "/", "a=1"), (b"HTTPS://API.example.com:443/%7ex", "/~x", None)],
)  # fmt: skip
def test_targets_in_their_origin_form(target, path, query):
    head = judged(raw(target=target))
    assert (head.path, head.query) == (path, query)


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        (b"http://api.example.com", b"api.example.com:80", Authority("api.example.com", 80)),
        (b"http://api.example.com/x", b"api.example.com", Authority("api.example.com", 80)),
        (b"http://api.example.com:8080/x", b"api.example.com:8080", Authority("api.example.com", 8080)),
        (b"HTTP://[::1]:8080/x", b"[0::1]:8080", Authority("::1", 8080)),
        (b"http://api.example.com/x", b"api.example.com:443", "authority_mismatch"),
        (b"http://api.example.com/x", b"evil.test", "authority_mismatch"),
        (b"https://api.example.com/x", b"api.example.com", "malformed_request"),
        (b"/x", b"api.example.com", "malformed_request"),
    ],
)
def test_a18_outside_a_tunnel_only_absolute_http_is_taken(target, host, expected):
    found = judged(raw(target=target, host=(b"Host", host)), connect=None, sni=None)
    if isinstance(expected, str):
        assert found.slug == expected
    else:
        assert (found.scheme, found.authority) == ("http", expected)


CHUNKED, LENGTH = (b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"5")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((LENGTH, CHUNKED), "ambiguous_request"),
        ((CHUNKED, LENGTH), "ambiguous_request"),
        ((CHUNKED, (b"content-length", b"0")), "ambiguous_request"),
        ((LENGTH, LENGTH), "malformed_request"),
        ((LENGTH, (b"CONTENT-LENGTH", b"6")), "malformed_request"),
    ],
)
def test_b01_two_framings_are_refused(headers, expected):
    assert slug(raw(*headers, method=b"POST", end_stream=False)) == expected


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"+5",
        b"-5",
        b"5,5",
        b"5, 5",
        b"0x5",
        b"5 5",
        b"5.0",
        b"1e3",
        b"\xb2",
        b"9" * 19,
        b"five",
        b"5;",
        b"\xd9\xa5",
        b"5_0",
    ],
)
def test_b04_a_length_is_one_plain_number(value):
    assert slug(raw((b"Content-Length", value), method=b"POST", end_stream=False)) == "malformed_request"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"xchunked",
        b"chunked, chunked",
        b"gzip, chunked",
        b"chunked, identity",
        b"identity",
        b'"chunked"',
        b"chunked;q=1",
        b"chunke\xe4",
        b"chunked x",
    ],
)
def test_b02_the_only_coding_is_chunked(value):
    assert slug(raw((b"Transfer-Encoding", value), method=b"POST", end_stream=False)) == "malformed_request"


@pytest.mark.parametrize(
    "head",
    [
        raw(CHUNKED, CHUNKED, method=b"POST", end_stream=False),
        raw(CHUNKED, method=b"POST", end_stream=False, version="HTTP/1.0"),
        raw2((b"transfer-encoding", b"chunked"), method=b"POST", end_stream=False),
        raw((b"Transfer_Encoding", b"chunked"), method=b"POST", end_stream=False),
        raw((b"Content_Length", b"5"), method=b"POST", end_stream=False),
        raw((b"content_length", b"5"), LENGTH, method=b"POST", end_stream=False),
        raw2((b"content-length", b"5"), method=b"POST", end_stream=True),
        raw(LENGTH, method=b"GET", end_stream=True),
    ],
)
def test_b03_b13_framing_that_someone_may_read_otherwise_is_refused(head):
    assert slug(head) == "malformed_request"


@pytest.mark.parametrize(
    ("head", "has_body", "length"),
    [
        (raw(LENGTH, method=b"POST", end_stream=False), True, 5),
        (raw((b"Content-Length", b"\t5 "), method=b"DELETE", end_stream=False), True, 5),
        (raw((b"Content-Length", b"000"), method=b"POST"), False, 0),
        (raw((b"Transfer-Encoding", b"CHUNKED"), method=b"POST", end_stream=False), True, None),
        (raw(method=b"POST"), False, 0),
        (raw(method=b"GET"), False, None),
        (raw2(method=b"PUT", end_stream=False), True, None),
    ],
)
def test_the_framing_that_is_told(head, has_body, length):
    found = judged(head)
    assert (found.has_body, found.content_length) == (has_body, length)
    assert not names(found) & {"content-length", "transfer-encoding", "host"}


def test_p8_b07_no_control_character_stands_in_a_value():
    for octet, place in itertools.product(range(256), (0, 1, 2)):
        value = b"ab"[:place] + bytes([octet]) + b"ab"[place:]
        found = judged(raw((b"X-A", value)))
        if octet == 9 or 0x20 <= octet < 0x7F or octet > 0x7F:
            assert found.header("x-a") == value.decode("latin-1").strip(" \t"), octet
        else:
            assert found.slug == "malformed_request", octet


def test_p8_b06_a_name_is_a_token():
    token = b"!#$%&'*+.^`|~-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for octet in range(256):
        found = judged(raw((b"X" + bytes([octet]) + b"y", b"v"), (b"z", b"v")))
        if octet in token:
            assert f"x{chr(octet).lower()}y" in names(found), octet
        elif octet == 0x5F:
            assert names(found) == {"z"}
        else:
            assert found.slug == "malformed_request", octet


@pytest.mark.parametrize(
    "name",
    [b"", b" x", b"x ", b"x:", b"x\nauthorization", b"x\r\ny", b"\n", b"x\n", b"\nx", b":path", b"x\0", b"x\xe9"],
)
def test_p8_b06_b20_what_is_no_token_is_no_name(name):
    assert slug(raw((name, b"v"))) == "malformed_request"
    assert slug(raw2((b"a", b"b"), (name, b"v"))) == "malformed_request"


@pytest.mark.parametrize(
    "name",
    [
        "connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate", "TE", "Trailer", "HTTP2-Settings",
        "Forwarded", "Via", "Max-Forwards", "X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override", "X-Original-URL",
        "X-Original-URI", "X-Original-Host", "X-Rewrite-URL", "X-Host", "X-Real-IP", "Client-IP", "True-Client-IP", "X-Forwarded-For",
        "X-Forwarded-Host", "X-Forwarded-Prefix", "X-Forwarded-Anything", "Briefcased-Receipt", "Briefcased-Anything", "Proxy-Anything",
        "Sec-WebSocket-Extensions", "X_Api_Key", "Host_", "_",
    ],
)  # fmt: skip
def test_b29_b30_d17_what_never_travels_on(name):
    head = judged(raw((name.encode(), b"v"), (b"X-Kept", b"v")))
    assert head.headers == (("x-kept", "v"),)


@pytest.mark.parametrize("nomination", [b"X-Hop", b"x-hop, close", b"close ,\tX-HOP ", b",,x-hop,"])
def test_b14_what_connection_names_is_for_one_hop(nomination):
    head = judged(raw((b"X-Hop", b"1"), (b"Connection", b"keep-alive"), (b"X-Kept", b"2"), (b"Connection", nomination)))
    assert head.headers == (("x-kept", "2"),)


@pytest.mark.parametrize("name", ["content-type", "content-range", "range", "if-range", "origin", "referer", "expect"])
def test_b28_what_may_stand_once_stands_once(name):
    once, again = (name.encode(), b"a"), (name.upper().encode(), b"a")
    assert slug(raw(once, again)) == "ambiguous_request"
    assert names(judged(raw(once))) == {name}


def test_cookies_of_http2_become_one_line():
    head = judged(raw2((b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2")))
    assert head.headers == (("x", "y"), ("cookie", "a=1; b=2"))


def changed(*, drop=b"", add=()):
    return (*(pair for pair in SOCKET if pair[0].lower() != drop.lower()), *add)


def test_a_websocket_handshake_is_recognised():
    head = judged(raw(*SOCKET))
    assert head.websocket
    assert not names(head) & {"upgrade", "connection"}
    assert judged(
        raw(*changed(drop=b"Connection", add=[(b"Connection", b"keep-alive"), (b"connection", b"x, UPGRADE")]))
    ).websocket
    assert not judged(raw((b"Connection", b"upgrade"))).websocket


@pytest.mark.parametrize(
    "head",
    [
        raw(*changed(drop=b"Upgrade", add=[(b"Upgrade", b"h2c")])),
        raw(*changed(drop=b"Upgrade", add=[(b"Upgrade", b"")])),
        raw(*changed(drop=b"Upgrade", add=[(b"Upgrade", b"websocket, h2c")])),
        raw(*changed(add=[(b"Upgrade", b"h2c")])),
        raw(*changed(add=[(b"Upgrade", b"websocket")])),
        raw(*changed(drop=b"Connection")),
        raw(*changed(drop=b"Connection", add=[(b"Connection", b"close")])),
        raw(*changed(drop=b"Sec-WebSocket-Version")),
        raw(*changed(drop=b"Sec-WebSocket-Version", add=[(b"Sec-WebSocket-Version", b"8")])),
        raw(*changed(drop=b"Sec-WebSocket-Key")),
        raw(*changed(drop=b"Sec-WebSocket-Key", add=[(b"Sec-WebSocket-Key", b"c2hvcnQ=")])),
        raw(*changed(drop=b"Sec-WebSocket-Key", add=[(b"Sec-WebSocket-Key", b"!" + KEY)])),
        raw(*changed(drop=b"Sec-WebSocket-Key", add=[(b"Sec-WebSocket-Key", b"\xe9" + KEY)])),
        raw(*SOCKET, method=b"POST"),
        raw(*SOCKET, end_stream=False),
        raw(*SOCKET, version="HTTP/1.0"),
        raw((b"Upgrade", b"h2c"), (b"Connection", b"Upgrade, HTTP2-Settings")),
        raw((b"Upgrade", b"TLS/1.0")),
        raw2(*((name.lower(), value) for name, value in SOCKET)),
    ],
)
def test_p8_every_other_upgrade_is_refused(head):
    assert slug(head) == "malformed_request"


H2C = ((b"Upgrade", b"h2c"), (b"Connection", b"Upgrade, HTTP2-Settings"), (b"HTTP2-Settings", b"AAEAAEAAAAIAAAAA"))
PLAIN = {
    "absolute": (Place(), b"http://api.example.com/x"),
    "base url": (Place(base=("https", API)), b"/x"),
    "redirected": (Place(port=80), b"/x"),
}


def plain(*headers, place="base url", **around):
    where, target = PLAIN[place]
    head = raw(*headers, target=target, **around)
    return canonical_head(head, place=where, sni=None, limits=LIMITS, encoded_slash=False)


@pytest.mark.parametrize("place", PLAIN)
@pytest.mark.parametrize(("method", "end_stream"), [(b"GET", True), (b"POST", False)])
def test_p8_an_offer_of_h2c_outside_tls_is_ignored_and_never_travels_on(place, method, end_stream):
    extra = ((b"X-Kept", b"1"), (b"Sec-WebSocket-Extensions", b"permessage-deflate"))
    head = plain(*H2C, *extra, place=place, method=method, end_stream=end_stream)
    assert isinstance(head, RequestHead), head
    assert (head.headers, head.websocket, head.has_body) == ((("x-kept", "1"),), False, not end_stream)


def without(name, *add):
    return (*(pair for pair in H2C if pair[0] != name), *add)


@pytest.mark.parametrize(
    "headers",
    [
        without(b"Upgrade", (b"Upgrade", b"h2c, websocket")),
        without(b"Upgrade", (b"Upgrade", b"h2")),
        without(b"Upgrade", (b"Upgrade", b"TLS/1.0")),
        (*H2C, (b"Upgrade", b"h2c")),
        without(b"Connection"),
        without(b"Connection", (b"Connection", b"Upgrade")),
        without(b"Connection", (b"Connection", b"HTTP2-Settings")),
        without(b"HTTP2-Settings"),
        without(b"HTTP2-Settings", (b"HTTP2-Settings", b"not base64")),
        (*H2C, (b"HTTP2-Settings", b"AAEAAEAAAAIAAAAA")),
    ],
)
def test_p8_an_offer_that_is_not_well_formed_is_refused(headers):
    assert plain(*headers).slug == "malformed_request"


def test_p8_an_offer_of_h2c_in_a_tunnel_or_in_http_1_0_is_refused():
    assert slug(raw(*H2C)) == "malformed_request"
    assert plain(*H2C, version="HTTP/1.0").slug == "malformed_request"


def test_p7_a_head_has_ceilings():
    assert slug(raw(target=b"/" + b"a" * 500)) == "uri_too_long"
    assert isinstance(judged(raw(target=b"/" + b"a" * 499)), RequestHead)
    assert isinstance(judged(raw(*[(b"a", b"")] * 19)), RequestHead)
    assert slug(raw(*[(b"a", b"")] * 20)) == "header_too_large"
    size = 2000 - sum(map(len, HOST))
    assert isinstance(judged(raw((b"a", b"x" * (size - 1)))), RequestHead)
    assert slug(raw((b"a", b"x" * size))) == "header_too_large"


@given(
    st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=12)), max_size=4),
    st.binary(max_size=20),
    st.sampled_from([b"GET", b"POST"]),
    st.booleans(),
)
def test_p8_whatever_comes_is_refused_or_comes_out_canonical(headers, target, method, end_stream):
    found = judged(raw(*headers, target=b"/" + target, method=method, end_stream=end_stream))
    if isinstance(found, Denial):
        return
    assert found.authority == API
    again = raw(*((n.encode(), v.encode("latin-1")) for n, v in found.headers), method=method, end_stream=end_stream,
                target=(found.path if found.query is None else f"{found.path}?{found.query}").encode())  # fmt: skip
    if found.content_length:
        again = replace(again, headers=(*again.headers, (b"content-length", str(found.content_length).encode())))
    assert judged(again) == found
