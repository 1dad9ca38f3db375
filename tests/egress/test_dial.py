"""P2: what is dialled is what was vetted; our own listeners never (A-02, A-09, A-10, A-23, A-27)."""

from __future__ import annotations

import asyncio
import itertools
import socket
from ipaddress import ip_address

import pytest

from proxy.clock import SystemClock
from proxy.egress.addresses import Reach, classify
from proxy.egress.dial import Dialler
from proxy.egress.resolver import KEEP_FAILURE_S, KEEP_S, MAX_ADDRESSES, MAX_ENTRIES, Resolver
from proxy.errors import Refused
from proxy.exchange import Dial
from proxy.model import Authority

LOOPBACK = ("127.0.0.0/8", "::1/128")
PUBLIC = ("93.184.216.34", "2606:2800:220:1::1")
FORBIDDEN = (
    "169.254.169.254",
    "10.0.0.1",
    "127.0.0.1",
    "::1",
    "fd00:ec2::254",
    "::ffff:10.0.0.1",
    "0.0.0.0",
    "fd00:42::42",
)


class SetClock(SystemClock):
    now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s


def dialler(*, own=(), timeout_s=2.0, **hosts):
    pinned = {name.replace("_", "."): tuple(addresses) for name, addresses in hosts.items()}
    resolver = Resolver(clock=SystemClock(), timeout_s=1.0, hosts=pinned)
    return Dialler(resolver=resolver, connect_timeout_s=timeout_s, own_listeners=lambda: frozenset(own))


def dial(host="a.test", port=443, allow=()):
    return Dial(Authority(host, port), tls=True, agent="a", account="p/a", allow_private=tuple(allow))


async def refusal(awaitable):
    with pytest.raises(Refused) as refused:
        await awaitable
    return refused.value.denial.slug


async def test_public_answers_are_kept_in_their_order():
    assert [str(a) for a in await dialler(a_test=PUBLIC).vetted(dial())] == list(PUBLIC)


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_p2_a10_one_forbidden_answer_refuses_all(address):
    for order in itertools.permutations((*PUBLIC, address)):
        assert await refusal(dialler(a_test=order).vetted(dial())) == "destination_forbidden_address"


@pytest.mark.parametrize("literal", FORBIDDEN)
async def test_p2_a01_a_literal_is_vetted_like_a_name(literal):
    assert await refusal(dialler().vetted(dial(host=literal))) == "destination_forbidden_address"


@pytest.mark.parametrize(
    ("address", "allow", "opens"),
    [
        ("10.0.0.1", ("10.0.0.0/24",), True),
        ("10.0.1.1", ("10.0.0.0/24",), False),
        ("10.0.0.1", ("127.0.0.0/8",), False),
        ("127.0.0.1", LOOPBACK, True),
        ("::1", LOOPBACK, True),
        ("::ffff:127.0.0.1", LOOPBACK, False),
        ("64:ff9b::a00:1", ("10.0.0.0/8",), False),
        ("169.254.169.254", ("169.254.0.0/16",), False),
        ("168.63.129.16", ("0.0.0.0/0",), False),
        ("fd00:ec2::254", ("::/0",), False),
        ("fd00:42::42", ("fc00::/7",), False),
        ("0.0.0.0", ("0.0.0.0/0",), False),
        ("::", ("::/0",), False),
    ],
)
async def test_p2_only_the_private_addresses_that_are_named_open(address, allow, opens):
    vetted = dialler(a_test=[address]).vetted(dial(allow=allow))
    if opens:
        assert await vetted == (ip_address(address),)
    else:
        assert await refusal(vetted) == "destination_forbidden_address"


@pytest.mark.parametrize(
    ("listener", "address", "port", "hairpin"),
    [
        ("127.0.0.1", "127.0.0.1", 8080, True),
        ("127.0.0.1", "127.0.0.1", 8081, False),
        ("127.0.0.1", "127.0.0.2", 8080, False),
        ("0.0.0.0", "127.0.0.1", 8080, True),
        ("0.0.0.0", "127.9.9.9", 8080, True),
        ("0.0.0.0", "::1", 8080, True),
        ("::", "127.0.0.1", 8080, True),
        ("::", "::1", 8080, True),
        ("::1", "::1", 8080, True),
        ("0:0::1", "::1", 8080, True),
        ("localhost", "127.0.0.1", 8080, True),
        ("localhost", "::1", 8080, True),
        ("my-machine", "127.0.0.1", 8080, True),
        ("127.0.0.1", "::ffff:127.0.0.1", 8080, True),
        ("0.0.0.0", "192.0.2.1", 8080, False),
    ],
)
async def test_p2_a02_our_own_listeners_are_never_dialled(listener, address, port, hairpin):
    allow = (*LOOPBACK, "::ffff:127.0.0.0/104")
    dialled = dialler(own=[(listener, 8080)], a_test=[address]).vetted(dial(port=port, allow=allow))
    if hairpin or address == "192.0.2.1":
        assert await refusal(dialled) == "destination_forbidden_address"
    else:
        assert await dialled == (ip_address(address),)


async def test_p2_a02_a_wildcard_listener_is_reached_by_every_address_of_this_machine():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return
        address = probe.getsockname()[0]
    own = dialler(own=[("0.0.0.0", 8080)], a_test=[address])
    assert await refusal(own.vetted(dial(port=8080, allow=[f"{address}/32"]))) == "destination_forbidden_address"


async def test_p2_the_vetted_address_is_the_one_that_is_dialled():
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer, address = await dialler(a_test=["127.0.0.1"]).connect(dial(port=port, allow=LOOPBACK))
    assert address == "127.0.0.1"
    assert writer.get_extra_info("peername") == ("127.0.0.1", port)
    assert await reader.read() == b""
    writer.close()
    server.close()


async def test_nobody_there_is_unreachable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = dialler(a_test=["127.0.0.1", "127.0.0.2"])
    assert await refusal(both.connect(dial(port=port, allow=LOOPBACK))) == "upstream_unreachable"


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a.invalid", "nohost-here"])
async def test_a27_a_name_that_is_not_is_unreachable(host):
    resolver = Resolver(clock=SystemClock(), timeout_s=2.0)
    assert await refusal(resolver.resolve(host, "one")) == "upstream_unreachable"


async def test_p7_an_answer_has_so_many_addresses_at_most():
    many = [str(ip_address(0x08080800 + i)) for i in range(MAX_ADDRESSES + 1)]
    assert len(await dialler(a_test=many[:-1]).vetted(dial())) == MAX_ADDRESSES
    resolver = Resolver(clock=SystemClock(), timeout_s=1.0)
    resolver._known["a.test"] = (float("inf"), tuple(map(ip_address, many)))
    assert await refusal(resolver.resolve("a.test", "one")) == "upstream_unreachable"


class Counting(Resolver):
    """Answers from a list instead of the system; counts."""

    answers: tuple[str, ...] = ("93.184.216.34",)
    asked = 0
    lasts_s = 0.0

    async def _ask(self, host, agent):
        self.asked += 1
        self._clock.now_s += self.lasts_s
        return tuple(map(ip_address, self.answers))


async def test_p7_answers_are_remembered_for_a_time_and_the_memory_is_bounded():
    clock = SetClock()
    resolver = Counting(clock=clock, timeout_s=1.0)
    for _ in range(3):
        await resolver.resolve("a.test", "one")
    assert resolver.asked == 1
    clock.now_s = KEEP_S + 0.1
    await resolver.resolve("a.test", "one")
    assert resolver.asked == 2
    for i in range(MAX_ENTRIES + 50):
        await resolver.resolve(f"h{i}.test", "one")
    assert len(resolver._known) == MAX_ENTRIES
    resolver.answers = ()
    for _ in range(3):
        assert await refusal(resolver.resolve("gone.test", "one")) == "upstream_unreachable"
    assert resolver.asked == 2 + MAX_ENTRIES + 50 + 1
    clock.now_s += KEEP_FAILURE_S + 0.1
    resolver.answers = ("93.184.216.34",)
    assert len(await resolver.resolve("gone.test", "one")) == 1


async def test_p7_that_nobody_answers_is_remembered_too_however_long_that_took():
    resolver = Counting(clock=SetClock(), timeout_s=1.0)
    resolver.answers, resolver.lasts_s = (), 5.0
    for _ in range(3):
        assert await refusal(resolver.resolve("slow.test", "one")) == "upstream_unreachable"
    assert resolver.asked == 1


async def test_p2_a09_a_name_that_is_rebound_is_vetted_again():
    clock = SetClock()
    resolver = Counting(clock=clock, timeout_s=1.0)
    out = Dialler(resolver=resolver, connect_timeout_s=1.0, own_listeners=frozenset)
    assert await out.vetted(dial())
    resolver.answers = ("169.254.169.254",)
    clock.now_s = KEEP_S + 1
    assert await refusal(out.vetted(dial())) == "destination_forbidden_address"


@pytest.mark.parametrize("literal", ["93.184.216.34", "2606:2800:220:1::1"])
async def test_a_literal_asks_nobody(literal):
    resolver = Counting(clock=SystemClock(), timeout_s=1.0)
    assert await resolver.resolve(literal, "one") == (ip_address(literal),)
    assert resolver.asked == 0


HIDING = {  # how an IPv4 address stands in an IPv6 one
    "mapped": lambda v4: (0xFFFF << 32) | v4,
    "compatible": lambda v4: v4,
    "translated": lambda v4: (0xFFFF << 48) | v4,
    "NAT64": lambda v4: (0x0064FF9B << 96) | v4,
    "local NAT64": lambda v4: (0x0064FF9B0001 << 80) | v4,
    "6to4": lambda v4: (0x2002 << 112) | (v4 << 80) | 1,
    "Teredo": lambda v4: (0x20010000 << 96) | (v4 ^ 0xFFFFFFFF),
    "Teredo server": lambda v4: (0x20010000 << 96) | (v4 << 64),
    "ISATAP": lambda v4: (0x26062800 << 96) | (0x00005EFE << 32) | v4,
    "ISATAP universal": lambda v4: (0x26062800 << 96) | (0x02005EFE << 32) | v4,
    "ISATAP link-local": lambda v4: (0xFE80 << 112) | (0x00005EFE << 32) | v4,
}
INNER = (
    "10.0.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "0.0.0.0",
    "192.168.0.1",
    "8.8.8.8",
)


@pytest.mark.parametrize("hiding", HIDING)
@pytest.mark.parametrize("inner", INNER)
async def test_p2_a05_no_ipv4_address_hides_in_an_ipv6_one(hiding, inner):
    number = HIDING[hiding](int(ip_address(inner)))
    address = ip_address(number.to_bytes(16))
    assert classify(address) is not Reach.PUBLIC
    assert await refusal(dialler(a_test=[str(address)]).vetted(dial())) == "destination_forbidden_address"
