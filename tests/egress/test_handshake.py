"""What an upstream proxy may answer, and what becomes of anything else: a table over a real socket."""

from __future__ import annotations

import asyncio

import pytest

from proxy.clock import SystemClock
from proxy.egress.dial import Dialler
from proxy.egress.handshake import MAX_ANSWER_BYTES, Login, status_of
from proxy.egress.resolver import Resolver
from proxy.errors import Refused
from proxy.exchange import Dial
from proxy.model import Authority, UpstreamProxy
from proxy.secret import Secret
from tests.fakes.upstream_proxy import REPLY
from tests.fakes.upstream_proxy import UpstreamProxy as Fake

UNAVAILABLE = "upstream_proxy_unavailable"
HTTP = {
    "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n": "upstream_proxy_auth",
    "HTTP/1.1 401 Unauthorized\r\n\r\n": "upstream_proxy_auth",
    "HTTP/1.1 403 Forbidden\r\n\r\n": "upstream_proxy_refused",
    "HTTP/1.1 302 Found\r\nLocation: http://login.corp/\r\n\r\n": "upstream_proxy_refused",
    "HTTP/1.1 500 Unable to connect\r\n\r\n": "upstream_unreachable",
    "HTTP/1.1 502 \r\n\r\n": "upstream_unreachable",
    "HTTP/1.0 504 Gateway Timeout\r\n\r\n": "upstream_timeout",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n": UNAVAILABLE,
    "HTTP/2 200 OK\r\n\r\n": UNAVAILABLE,
    "HTTP/1.1 20 OK\r\n\r\n": UNAVAILABLE,
    "HTTP/1.1 2000 OK\r\n\r\n": UNAVAILABLE,
    "HTTP/1.1  200 OK\r\n\r\n": UNAVAILABLE,
    " HTTP/1.1 200 OK\r\n\r\n": UNAVAILABLE,
    "HTTP/1.1 200 OK\nVia: x\r\n\r\n": UNAVAILABLE,
    "HTTP/1.1 200 OK\r\nVia : x\r\n\r\n": UNAVAILABLE,
    "HTTP/1.1 200 OK\r\n folded\r\n\r\n": UNAVAILABLE,
    "HTTP/1.1 200 OK\r\nVia: a\rb\r\n\r\n": UNAVAILABLE,
    "HTTP/1.1 200 OK\r\nVia: a\x00b\r\n\r\n": UNAVAILABLE,
    "HTTP/1.1 200 OK\r\nno-end: yet\r\n": UNAVAILABLE,
    "HTTP/1.1 200 OK\r\nVia: " + "x" * MAX_ANSWER_BYTES + "\r\n\r\n": UNAVAILABLE,
    "HTTP/1.1 200 OK\r\nVia: " + "x" * 300_000: UNAVAILABLE,
    "SSH-2.0-OpenSSH_9.2\r\n\r\n": UNAVAILABLE,
    "": UNAVAILABLE,
}
SOCKS = {
    b"\x05\xff": "upstream_proxy_auth",
    b"\x04\x00": UNAVAILABLE,
    b"\x05\x01": UNAVAILABLE,  # GSSAPI was not offered
    b"\x05\x02": UNAVAILABLE,  # nor was a password
    b"\x05\x00\x05\x01": UNAVAILABLE,
    b"HTTP/1.1 400 Bad Request\r\n\r\n": UNAVAILABLE,
    **{
        b"\x05\x00" + bytes([5, reply, 0, 1]) + bytes(6): slug
        for reply, slug in {
            1: "upstream_unreachable", 2: "upstream_proxy_refused", 3: "upstream_unreachable", 4: "upstream_unreachable",
            5: "upstream_unreachable", 6: "upstream_timeout", 7: "upstream_proxy_refused", 8: "upstream_proxy_refused",
            9: UNAVAILABLE, 255: UNAVAILABLE,
        }.items()
    },
    b"\x05\x00\x04\x00\x00\x01" + bytes(6): UNAVAILABLE,
    b"\x05\x00\x05\x00\x01\x01" + bytes(6): UNAVAILABLE,
    b"\x05\x00\x05\x00\x00\x02" + bytes(6): UNAVAILABLE,
}  # fmt: skip


def dialler(*, timeout_s=2.0, secrets=None, own=()):
    async def read_secret(ref):
        return Secret(ref, secrets[ref])

    resolver = Resolver(clock=SystemClock(), timeout_s=1.0)
    return Dialler(
        resolver=resolver, connect_timeout_s=timeout_s, own_listeners=lambda: frozenset(own), read_secret=read_secret
    )


def dial(port, scheme="http", *, host="api.example.test", timeout_s=2.0, **login):
    via = UpstreamProxy(scheme, Authority("127.0.0.1", port), timeout_s=timeout_s, **login)
    return Dial(Authority(host, 443), tls=True, agent="a", account="p/a", via=via)


async def slug_of(awaitable):
    with pytest.raises(Refused) as refused:
        await awaitable
    return refused.value.denial.slug


@pytest.mark.parametrize(("answer", "slug"), HTTP.items(), ids=range(len(HTTP)))
async def test_what_an_http_proxy_may_not_say(answer, slug):
    async with Fake("http", {}, answer=answer.encode("latin-1")) as fake:
        assert await slug_of(dialler().connect(dial(fake.port))) == slug


@pytest.mark.parametrize(("answer", "slug"), SOCKS.items(), ids=range(len(SOCKS)))
async def test_what_a_socks_proxy_may_not_say(answer, slug):
    async with Fake("socks5", {}, answer=answer) as fake:
        assert await slug_of(dialler().connect(dial(fake.port, "socks5", timeout_s=0.5))) == slug


@pytest.mark.parametrize(
    "answer",
    [REPLY, bytes([5, 0, 0, 4]) + bytes(18), bytes([5, 0, 0, 3, 9]) + b"corp.test" + bytes(2)],
    ids=["IPv4", "IPv6", "name"],
)
async def test_nothing_of_the_tunnel_is_read_with_the_answer(answer):
    async with Fake("socks5", {}, answer=b"\x05\x00" + answer + b"hello") as fake:
        reader, writer, address = await dialler().connect(dial(fake.port, "socks5"))
        assert (await reader.readexactly(5), address) == (b"hello", "127.0.0.1")
        writer.close()
    # Whatever lengths a 2xx answer names: no content follows (RFC 9110, section 9.3.6).
    async with Fake("http", {}, answer=b"HTTP/1.1 299 Fine\r\nContent-Length: 3\r\n\r\nhello") as fake:
        reader, writer, _ = await dialler().connect(dial(fake.port))
        assert await reader.readexactly(5) == b"hello"
        writer.close()


@pytest.mark.parametrize("speaks", ["http", "socks5"])
async def test_p7_a_proxy_that_says_nothing_is_given_up(speaks):
    async with Fake(speaks, {}, silent=True) as fake:
        async with asyncio.timeout(5):
            assert await slug_of(dialler().connect(dial(fake.port, speaks, timeout_s=0.3))) == UNAVAILABLE


async def test_no_proxy_there():
    async with Fake("http", {}) as fake:
        port = fake.port
    assert await slug_of(dialler().connect(dial(port))) == UNAVAILABLE


async def test_p2_a_tls_proxy_whose_certificate_is_not_trusted_is_not_asked(tmp_path):
    from tests.rig import Provider

    provider = Provider(tmp_path, ("corp.example.test",))
    await provider.start()
    await provider.stop()
    async with Fake("http", {}, tls=provider.contexts["corp.example.test"]) as fake:
        for trust in (None, provider.root):  # unknown roots; then a name that the certificate does not have
            assert await slug_of(dialler().connect(dial(fake.port, "https", trust=trust))) == UNAVAILABLE
        assert fake.heads == []


@pytest.mark.parametrize("host", ["10.0.0.1", "8.8.8.8", "169.254.169.254", "localhost", "metadata.google.internal"])
@pytest.mark.parametrize("speaks", ["http", "socks5"])
async def test_p2_an_upstream_proxy_is_not_asked_for_addresses_and_local_names(host, speaks):
    async with Fake(speaks, {host: "127.0.0.1"}) as fake:
        assert await slug_of(dialler().connect(dial(fake.port, speaks, host=host))) == "destination_forbidden_address"
        assert fake.connections == 0


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "fd00:ec2::254", "224.0.0.1"])
async def test_p2_a_proxy_is_never_at_a_metadata_or_reserved_address(address):
    via = UpstreamProxy("http", Authority(address, 80), timeout_s=0.5)
    asked = Dial(Authority("api.example.test", 443), tls=True, agent="a", account="p/a", via=via)
    assert await slug_of(dialler(timeout_s=0.5).connect(asked)) == UNAVAILABLE


async def test_p2_our_own_listener_is_no_upstream_proxy():
    async with Fake("http", {}) as fake:
        own = dialler(own=[("127.0.0.1", fake.port)])
        assert await slug_of(own.connect(dial(fake.port))) == UNAVAILABLE
        assert fake.connections == 0


@pytest.mark.parametrize(
    ("name", "word", "fits"),
    [("ada", "x", True), ("ada", None, True), ("", "x", False), ("a:b", "x", False), ("a" * 256, "x", False), ("a", "x" * 256, False)],
)  # fmt: skip
def test_what_both_methods_can_carry(name, word, fits):
    assert Login(Secret("name", name), None if word is None else Secret("word", word)).fits() is fits


async def test_p5_credentials_that_cannot_be_read_send_nothing(caplog):
    async with Fake("http", {}) as fake:
        login = {"username": "env:A_NAME", "password": "env:A_WORD"}
        reads = dialler(secrets={"env:A_NAME": "a:b", "env:A_WORD": "hunter22"})
        assert await slug_of(reads.connect(dial(fake.port, **login))) == "upstream_proxy_auth"
        without = Dialler(resolver=reads._resolver, connect_timeout_s=1.0, own_listeners=frozenset)
        assert await slug_of(without.connect(dial(fake.port, **login))) == "upstream_proxy_auth"
        assert fake.connections == 0
    assert "hunter22" not in caplog.text


def test_a_status_is_read_from_a_whole_head_only():
    assert status_of(b"HTTP/1.1 200 OK\r\n\r\n") == 200
    assert status_of(b"HTTP/1.0 200\r\nA: b\r\n\r\n") == 200
    assert status_of(b"\r\n\r\n") is None
