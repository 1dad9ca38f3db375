"""The stub resolver: a table over messages, its memory, and resolvers that ask it."""

from __future__ import annotations

import struct
import sys
from ipaddress import IPv4Network

import pytest

from proxy.confine.stub import Names, answer


def query(name, kind=1, *, family=1, flags=0x0100, count=1, tail=b""):
    labels = b"".join(bytes([len(label)]) + label for label in name.encode("latin-1").split(b".") if label)
    return struct.pack("!HHHHHH", 7, flags, count, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, family) + tail


def told(response):
    """Code, how many answers, and the last four or sixteen bytes."""
    number, flags, _, answers = struct.unpack("!HHHH", response[:8])
    assert (number, flags & 0x8000) == (7, 0x8000)
    return flags & 0xF, answers


@pytest.mark.parametrize(
    ("asked", "code", "answers"),
    [
        (query("api.example.test"), 0, 1),
        (query("api.example.test."), 0, 1),
        (query("a"), 0, 1),
        (query("api.example.test", tail=b"\0\0\x29\x04\xd0\0\0\0\0\0\0"), 0, 1),
        (query("api.example.test", 28), 0, 0),
        (query("api.example.test", 65), 0, 0),
        (query("api.example.test", 16), 0, 0),
        (query("localhost"), 0, 1),
        (query("a.localhost", 28), 0, 1),
        (query("_service._tcp.example.test"), 3, 0),
        (query("-a.example.test"), 3, 0),
        (query("1.2.3.4"), 3, 0),
        (query("0x7f.1"), 3, 0),
        (query("exämple.test"), 3, 0),
        (query(""), 3, 0),
        (query(".".join(["a" * 63] * 4)), 1, 0),
        (query("x" * 62 + ".test", family=3), 5, 0),
        (query("api.example.test", count=2), 1, 0),
        (query("api.example.test", count=0), 1, 0),
        (query("api.example.test", flags=0x2800), 4, 0),
        (query("api.example.test")[:-1], 1, 0),
        (struct.pack("!HHHHHH", 7, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", 1, 0),
        (struct.pack("!HHHHHH", 7, 0, 1, 0, 0, 0) + b"\x03a.b\0\0\1\0\1", 3, 0),
    ],
)
def test_a_message_has_its_answer(asked, code, answers):
    assert told(answer(asked, Names())) == (code, answers)


@pytest.mark.parametrize("asked", [b"", b"short", query("a.test", flags=0x8000)])
def test_what_deserves_no_answer_gets_none(asked):
    assert answer(asked, Names()) is None


def test_an_address_leads_back_to_its_name_in_whatever_case_it_was_asked_for():
    names = Names()
    response = answer(query("API.example.TEST"), names)
    address = ".".join(map(str, response[-4:]))
    assert names.name_of(address) == "api.example.test"
    assert response[-4:] == answer(query("api.EXAMPLE.test."), names)[-4:]
    assert names.name_of("198.18.0.1") is names.name_of("192.0.2.1") is names.name_of("2001:db8::1") is None


def test_names_have_a_ceiling_and_a_forgotten_address_is_nobodys():
    names = Names(most=3)
    first = {name: str(names.address_of(name)) for name in ("a", "b", "c")}
    assert len(set(first.values())) == 3
    names.name_of(first["a"])  # used
    names.address_of("d")
    assert [names.name_of(first[name]) for name in "abc"] == ["a", None, "c"]
    assert str(names.address_of("e")) not in first.values()


def test_every_address_is_in_the_network_after_any_number_of_names():
    network = IPv4Network("198.18.0.0/24")
    names = Names(network=network, most=5)
    addresses = [names.address_of(f"n{index}") for index in range(600)]
    assert all(address in network for address in addresses)
    assert names.name_of(str(addresses[-1])) == f"n{len(addresses) - 1}"


ASK = """
import socket, struct, sys
def ask(kind, server, name):
    labels = b"".join(bytes([len(l)]) + l for l in name.split(b"."))
    message = struct.pack("!HHHHHH", 9, 0x100, 1, 0, 0, 0) + labels + b"\\0\\0\\1\\0\\1"
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, kind) as s:
        s.settimeout(5)
        s.connect((server, 53))
        if kind == socket.SOCK_DGRAM:
            s.send(message); return s.recv(512)
        s.sendall(struct.pack("!H", len(message)) + message)
        data = s.makefile("rb").read(2 + len(message) + 16)
        return data[2:]
for server in ("192.0.2.53", "127.0.0.53", "127.0.0.1", "2001:db8::53"):
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        print(server, kind.name, socket.inet_ntoa(ask(kind, server, b"one.test")[-4:]))
"""


async def test_every_server_is_the_stub_over_udp_and_tcp(confined):
    ran = await confined.run(sys.executable, "-c", ASK)
    assert ran.code == 0, ran.err
    assert len(ran.lines) == 8
    assert {line.split()[2] for line in ran.lines} == {"198.18.0.16"}
    assert confined.sidecar.origins == []
