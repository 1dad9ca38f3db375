"""P2, P8: spellings of hosts over which checks and resolvers disagree (A-06 to A-08, A-13 to A-15); beside test_host.py."""

from __future__ import annotations

import ipaddress
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.canonical import parse_authority, parse_host
from proxy.model import Authority

CANONICAL = {
    b"1.2.3.example": "1.2.3.example",
    b"0xg.example": "0xg.example",
    b"[0:0:0:0:0:0:0:1]": "::1",
    b"[2001:db8:0:0:1:0:0:1]": "2001:db8::1:0:0:1",
    b"a" * 63 + b".example": "a" * 63 + ".example",
    b".".join([b"a" * 49] * 5) + b".abc": ".".join(["a" * 49] * 5) + ".abc",
}
ADDRESSES_IN_DISGUISE = (
    b"2130706433", b"0x7f000001", b"0x7F.1", b"017700000001", b"0177.0.0.1", b"127.1", b"127.0.1", b"0", b"0x", b"0x0",
    b"127.0.0.01", b"127.0.0.0x1", b"256.1.1.1", b"1.2.3.4.5", b"1.2.3", b"999999999999", b"example.1", b"example.0x1",
    b"a.127", b"127.0.0.1..", b"00.0.0.0", b"0.0.0.256",
)  # fmt: skip
NOT_A_HOST = (
    b"", b".", b"..", b"a..b", b".a", b"a..", b"-a.example", b"a-.example", b"a_b.example", b"*.example.com", b"a b", b" a",
    b"a ", b"a\t", b"a\r\n", b"a\x00", b"a\x00.example.com", b"a%2eexample", b"%61.example", b"a/b", b"a\\b", b"a;b", b"a,b",
    b"a@b", b"user:pw@b", b"a:80", b"a#b", b"a?b", b"a\x7fb", b"\xd0\xb0pi.example.com", b"\xe3\x80\x82", b"a\xe3\x80\x82example",
    b"\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1", b"\xe2\x91\xa0.example", b"fa\xc3\x9f.example", b"a\xe2\x80\x8d.example",
    b"a" * 64 + b".example", b".".join([b"a" * 49] * 5) + b".abcd", b"::1", b"[::1", b"::1]", b"[]", b"[127.0.0.1]", b"[a]",
    b"[::1%25eth0]", b"[::1%eth0]", b"[fe80::1%lo]", b"[v1.fe80::a]", b"[::1].", b"[ ::1]", b"[::1\x00]", b"[::g]", b"[[::1]]",
    b"[\xef\xbc\x91::]", b"[:::1]", b"[1:2:3:4:5:6:7:8:9]",
)  # fmt: skip


@pytest.mark.parametrize("text", CANONICAL)
def test_p8_a_host_has_one_spelling(text):
    assert parse_host(text) == CANONICAL[text]


@pytest.mark.parametrize("text", ADDRESSES_IN_DISGUISE)
def test_p2_an_address_in_disguise_is_no_host(text):
    assert parse_host(text) is None


@pytest.mark.parametrize("text", NOT_A_HOST)
def test_p2_what_is_no_host_is_refused(text):
    assert parse_host(text) is None


def test_p2_of_all_octets_only_letters_digits_hyphens_and_dots_make_a_name():
    name = b"api.example.com"
    for octet, place in itertools.product(range(256), range(len(name) + 1)):
        inside_a_label = 0 < place < len(name) and b"." not in (name[place - 1 : place], name[place : place + 1])
        accepted = parse_host(name[:place] + bytes([octet]) + name[place:]) is not None
        trailing_dot = octet == 0x2E and place == len(name)
        plain = octet < 128 and chr(octet).isalnum()
        assert accepted == (plain or trailing_dot or (octet in b"-." and inside_a_label)), (octet, place)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_an_address_is_its_own_spelling(address):
    text = f"[{address.exploded}]" if address.version == 6 else str(address)
    host = parse_host(text.encode())
    assert host is not None
    assert ipaddress.ip_address(host) == address
    assert host == address.compressed


@given(st.ip_addresses(v=4))
def test_p2_every_other_spelling_of_an_ipv4_address_is_refused(address):
    number, parts = int(address), str(address).split(".")
    spellings = {
        str(number), hex(number), f"0{number:o}", ".".join(hex(int(part)) for part in parts),
        ".".join(f"0{int(part):o}" for part in parts), f"{parts[0]}.{number & 0xFFFFFF}",
        f"{parts[0]}.{parts[1]}.{number & 0xFFFF}", f"{parts[0]}.{parts[1]}.{parts[2]}.{int(parts[3]):03d}0",
    } - {str(address)}  # fmt: skip
    assert {spelling: parse_host(spelling.encode()) for spelling in spellings} == dict.fromkeys(spellings)


@pytest.mark.parametrize(
    ("text", "default", "expected"),
    [
        (b"api.example.com", 443, Authority("api.example.com", 443)),
        (b"API.example.com.:8443", 443, Authority("api.example.com", 8443)),
        (b"api.example.com:1", None, Authority("api.example.com", 1)),
        (b"api.example.com:65535", None, Authority("api.example.com", 65535)),
        (b"[2001:DB8::1]:443", None, Authority("2001:db8::1", 443)),
        (b"[::1]", 80, Authority("::1", 80)),
        (b"api.example.com", None, None),
        (b"api.example.com:", 443, None),
        (b"api.example.com:0", 443, None),
        (b"api.example.com:0443", 443, None),
        (b"api.example.com:65536", 443, None),
        (b"api.example.com:99999999", 443, None),
        (b"api.example.com:+443", 443, None),
        (b"api.example.com:-1", 443, None),
        (b"api.example.com: 443", 443, None),
        (b"api.example.com:443 ", 443, None),
        (b"api.example.com:443\n", 443, None),
        (b"api.example.com:4_4", 443, None),
        (b"api.example.com:\xd9\xa4", 443, None),
        (b"api.example.com:0x50", 443, None),
        (b"api.example.com:443:443", 443, None),
        (b"user@api.example.com", 443, None),
        (b"user:pw@api.example.com:443", 443, None),
        (b"api.example.com@evil.example", 443, None),
        (b"api.example.com/path", 443, None),
        (b"api.example.com?x", 443, None),
        (b"api.example.com#x", 443, None),
        (b"api.example.com\\@evil.example", 443, None),
        (b"::1", 443, None),
        (b"::1:443", None, None),
        (b"[::1]443", 443, None),
        (b"[::1]:443:1", 443, None),
        (b"x[::1]:443", 443, None),
        (b"", 443, None),
        (b":443", None, None),
    ],
)
def test_p2_an_authority_is_host_and_port_and_nothing_else(text, default, expected):
    assert parse_authority(text, default) == expected


@given(st.from_regex(rb"[a-z][a-z0-9]{0,20}\.example", fullmatch=True), st.integers(1, 65535))
def test_p8_an_authority_survives_its_own_spelling(host, port):
    found = parse_authority(host + b":" + str(port).encode(), None)
    assert found == Authority(host.decode(), port)
    assert parse_authority(str(found).encode(), None) == found
