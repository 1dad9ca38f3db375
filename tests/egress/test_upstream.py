"""Which way out: the table of `no_proxy`, the URLs, and the names that a proxy is asked for."""

from __future__ import annotations

import pytest

from proxy.egress.upstream import bypassed, may_be_asked_for, no_proxy_rule, parse_url, route
from proxy.model import Authority, UpstreamProxy
from proxy.settings import UpstreamProxyEntry


@pytest.mark.parametrize(
    ("entries", "host", "port", "direct"),
    [
        ((), "api.example.com", 443, False),
        (("*",), "api.example.com", 443, True),
        (("example.com",), "example.com", 443, True),
        (("example.com",), "api.example.com", 443, True),
        (("EXAMPLE.com",), "api.example.com", 443, True),
        (("example.com",), "badexample.com", 443, False),
        (("example.com",), "example.com.evil.net", 443, False),
        ((".example.com",), "example.com", 443, False),
        ((".example.com",), "a.b.example.com", 443, True),
        (("*.example.com",), "a.example.com", 443, True),
        (("*.example.com",), "example.com", 443, False),
        (("example.com:8443",), "example.com", 8443, True),
        (("example.com:8443",), "example.com", 443, False),
        (("10.0.0.0/8",), "10.1.2.3", 443, True),
        (("10.0.0.0/8",), "11.1.2.3", 443, False),
        (("10.1.2.3",), "10.1.2.3", 443, True),
        (("10.1.2.3:80",), "10.1.2.3", 443, False),
        (("10.0.0.0/8",), "ten.example.com", 443, False),
        (("::1",), "::1", 443, True),
        (("[::1]:443",), "::1", 443, True),
        (("fd00::/8",), "fd00::1", 443, True),
        (("other.com", "example.com"), "example.com", 443, True),
    ],
)
def test_what_is_reached_directly(entries, host, port, direct):
    assert bypassed(entries, Authority(host, port)) is direct
    entry = UpstreamProxyEntry(url="http://corp.test:3128", no_proxy=entries)
    assert (route(entry, Authority(host, port)) is None) is direct


@pytest.mark.parametrize(
    "entry", ["", "a b", "http://x", "*.10.0.0.1", "x/y", "10.0.0.0/33", "a:b", "*x", "ex*mple.com"]
)
def test_an_entry_that_means_nothing_is_a_mistake(entry):
    with pytest.raises(ValueError, match=r"entry is|below an address"):
        no_proxy_rule(entry)


@pytest.mark.parametrize(
    ("url", "scheme", "authority"),
    [
        ("http://corp.test:3128", "http", Authority("corp.test", 3128)),
        ("http://corp.test", "http", Authority("corp.test", 80)),
        ("HTTPS://corp.test/", "https", Authority("corp.test", 443)),
        ("socks5://10.0.0.1:1080", "socks5", Authority("10.0.0.1", 1080)),
        ("socks5h://[::1]", "socks5", Authority("::1", 1080)),
    ],
)
def test_urls(url, scheme, authority):
    assert parse_url(url) == (scheme, authority)


@pytest.mark.parametrize(
    "url",
    ["corp.test:3128", "socks4://x:1", "ftp://x:1", "http://", "http://x:0", "http://x:99999", "http://x/path",
     "http://ada:hunter22@x:1", "http://x?y", "http://x:1#f", "http://0x7f.1:1", "http://é:1", ""],
)  # fmt: skip
def test_what_is_no_url_of_a_proxy_and_is_not_repeated(url):
    with pytest.raises(ValueError, match="URL") as error:
        parse_url(url)
    assert "hunter22" not in str(error.value)


@pytest.mark.parametrize("host", ["api.github.com", "a.b.c.example.test", "xn--bcher-kva.example"])
def test_names_that_a_proxy_is_asked_for(host):
    assert may_be_asked_for(host)


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "127.0.0.1", "8.8.8.8", "169.254.169.254", "::1", "2606:4700::1111", "localhost", "metadata", "a.localhost",
     "printer.local", "metadata.google.internal", "kubernetes.default.svc", "x.svc.cluster.local", "nas.lan", "a.home.arpa",
     "home.arpa", "1.0.0.127.in-addr.arpa", "git.corp", "localhost.localdomain", "intranet", "API.example.com", "a..b", ""],
)  # fmt: skip
def test_p2_no_address_and_no_local_name_is_asked_for(host):
    assert not may_be_asked_for(host)


def test_the_route_holds_everything_that_tells_two_proxies_apart():
    entry = UpstreamProxyEntry(url="http://corp.test:3128", username="env:A_NAME", password="env:A_WORD")
    assert route(entry, Authority("a.test", 443)) == UpstreamProxy(
        "http", Authority("corp.test", 3128), "env:A_NAME", "env:A_WORD", None, 15.0
    )
    assert route("direct", Authority("a.test", 443)) is None
    assert route(None, Authority("a.test", 443)) is None
