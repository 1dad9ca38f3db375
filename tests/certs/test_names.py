from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509

from certs.names import ManagedHosts, outermost
from proxy.errors import BriefcaseError

PATTERNS = ("api.example.com", "*.example.org", "192.0.2.7", "2001:db8::1", "localhost")


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        ("api.example.com", True),
        ("x.api.example.com", False),
        ("example.com", False),
        ("API.example.com", False),
        ("api.example.com.", False),
        ("a.example.org", True),
        ("*.example.org", False),
        ("example.org", False),
        ("a.b.example.org", False),
        (".example.org", False),
        ("-a.example.org", False),
        ("a\x00.example.org", False),
        ("a\n.example.org", False),
        ("a.example.org\n", False),
        ("é.example.org", False),
        ("a" * 64 + ".example.org", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("192.0.2.07", False),
        ("3221225991", False),
        ("2001:db8::1", True),
        ("2001:DB8::1", False),
        ("2001:db8:0::1", False),
        ("[2001:db8::1]", False),
        ("localhost", True),
        ("", False),
    ],
)
def test_a_host_is_covered_only_in_its_one_form(host, covered):
    assert ManagedHosts.of(PATTERNS).covers(host) is covered


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "",
            "*",
            "*.",
            "*.com",
            "*.*.example.com",
            "a.*.example.com",
            "A.example.com",
            "a.example.com.",
            "a..example.com",
        ),
        *("*.192.0.2.7", "192.0.2.999", "fe80::1%eth0", "[::1]", "10.0.0.0/8", "a.example.com:443", "a b.example.com"),
        *("example.com\n", "é.example.com", ".example.com", "a." * 127 + "com"),
    ],
)
def test_p5_a_pattern_that_is_not_understood_is_refused(pattern):
    with pytest.raises(BriefcaseError):
        ManagedHosts.of([pattern])


def test_p5_without_patterns_nothing_is_covered():
    hosts = ManagedHosts.of(())
    assert not any(hosts.covers(host) for host in (*PATTERNS, "", "."))


@pytest.mark.parametrize(
    ("names", "outer"),
    [
        ({"a.example.com", "example.com"}, {"example.com"}),
        ({"a.example.com", "b.example.com"}, {"a.example.com", "b.example.com"}),
        ({"xexample.com", "example.com"}, {"xexample.com", "example.com"}),
        (set(), set()),
    ],
)
def test_names_below_another_one_are_left_out(names, outer):
    assert outermost(names) == outer


V4, V6 = (x509.IPAddress(ipaddress.ip_network(whole)) for whole in ("0.0.0.0/0", "::/0"))


@pytest.mark.parametrize(
    ("patterns", "permitted", "excluded"),
    [
        (["b.example", "*.a.example"], [x509.DNSName("a.example"), x509.DNSName("b.example")], [V4, V6]),
        (["192.0.2.7"], [x509.IPAddress(ipaddress.ip_network("192.0.2.7/32"))], [V6, x509.DNSName("")]),
        (["::1"], [x509.IPAddress(ipaddress.ip_network("::1/128"))], [V4, x509.DNSName("")]),
        ([], None, [V4, V6, x509.DNSName("")]),
        (
            ["a.example", "::1", "192.0.2.7"],
            [
                x509.DNSName("a.example"),
                x509.IPAddress(ipaddress.ip_network("192.0.2.7/32")),
                x509.IPAddress(ipaddress.ip_network("::1/128")),
            ],
            None,
        ),
    ],
)
def test_kinds_of_names_without_a_pattern_are_excluded_whole(patterns, permitted, excluded):
    constraints = ManagedHosts.of(patterns).constraints()
    assert constraints.permitted_subtrees == permitted
    assert constraints.excluded_subtrees == excluded
