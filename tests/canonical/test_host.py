"""P8: one spelling of a host, before any resolver sees it (A-06 to A-15)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.canonical import parse_authority, parse_host
from proxy.model import Authority

GOOD = {
    "api.example.com": "api.example.com",
    "API.Example.COM": "api.example.com",
    "api.example.com.": "api.example.com",
    "a": "a",
    "xn--e1afmkfd.xn--p1ai": "xn--e1afmkfd.xn--p1ai",
    "127.0.0.1": "127.0.0.1",
    "127.0.0.1.": "127.0.0.1",
    "[::1]": "::1",
    "[2001:DB8:0:0:0:0:0:1]": "2001:db8::1",
    "3com.com": "3com.com",
    "a--b.com": "a--b.com",
}
BAD = (
    "", ".", "..", "a..b", ".a", "a.b..", "-a.com", "a-.com", "a_b.com", "a b.com", "a\tb", "a\0b", "a%2eb", "a;b", "a\\b", "a@b", "a/b",
    "127.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.01", "256.1.1.1", "1.2.3", "1.2.3.4.5", "1.2.3.4a.5",
    "::1", "[::1", "::1]", "[]", "[1.2.3.4]", "[::1%25eth0]", "[fe80::1%eth0]", "[v1.a]", "ａpi.example.com", "аpi.example.com",
    "api。example.com", "①②⑦.0.0.1", "a" * 64 + ".com", ".".join(["a" * 60] * 5), "api.example.com:443",
)  # fmt: skip


@pytest.mark.parametrize(("text", "host"), GOOD.items())
def test_p8_good_hosts_have_one_form(text, host):
    assert parse_host(text.encode()) == host
    assert parse_host((f"[{host}]" if ":" in host else host).encode()) == host


@pytest.mark.parametrize("text", BAD)
def test_p8_bad_hosts_are_refused(text):
    assert parse_host(text.encode()) is None


@given(st.binary(max_size=40))
def test_p8_whatever_is_accepted_is_plain_and_stable(raw):
    host = parse_host(raw)
    if host is not None:
        assert set(host) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-:")
        assert parse_host((f"[{host}]" if ":" in host else host).encode()) == host


@pytest.mark.parametrize(
    ("text", "default", "authority"),
    [
        ("a.b:8443", None, Authority("a.b", 8443)),
        ("a.b", 443, Authority("a.b", 443)),
        ("[::1]:1", None, Authority("::1", 1)),
        ("a.b", None, None),
        ("a.b:", 443, None),
        ("a.b:0", None, None),
        ("a.b:0443", None, None),
        ("a.b:65536", None, None),
        ("a.b:+1", None, None),
        ("u:p@a.b:1", None, None),
        ("::1:443", None, None),
        ("a.b:1:2", None, None),
    ],
)
def test_authorities(text, default, authority):
    assert parse_authority(text.encode(), default) == authority
