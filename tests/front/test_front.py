"""The listener: strict first heads, authentication, plain requests, unread tunnels."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import struct

import pytest

from tests.rig import running_rig
from tests.rig.raw import end_of, read_answer
from tests.rig.sidecar import EXAMPLE, KEY

MALFORMED = {
    "not http": b"hello\r\n\r\n",
    "origin form": b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
    "https absolute form": b"GET https://api.example.test/ HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
    "ftp": b"GET ftp://api.example.test/ HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
    "no port": b"CONNECT api.example.test HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
    "port zero": b"CONNECT api.example.test:0 HTTP/1.1\r\n\r\n",
    "large port": b"CONNECT api.example.test:65536 HTTP/1.1\r\n\r\n",
    "userinfo": b"CONNECT a@api.example.test:443 HTTP/1.1\r\n\r\n",
    "unicode": "CONNECT аpi.example.test:443 HTTP/1.1\r\n\r\n".encode(),
    "decimal address": b"CONNECT 2130706433:443 HTTP/1.1\r\n\r\n",
    "octal address": b"CONNECT 0177.0.0.1:443 HTTP/1.1\r\n\r\n",
    "short address": b"CONNECT 127.1:443 HTTP/1.1\r\n\r\n",
    "zone": b"CONNECT [fe80::1%25eth0]:443 HTTP/1.1\r\n\r\n",
    "percent": b"CONNECT api%2eexample.test:443 HTTP/1.1\r\n\r\n",
    "with a body": b"CONNECT api.example.test:443 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    "line feeds": b"CONNECT api.example.test:443 HTTP/1.1\n\n\r\n\r\n",
}


async def ask(rig, raw: bytes):
    reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
    writer.write(raw)
    answer = await read_answer(reader)
    return answer, reader, writer


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
async def test_p8_a_first_head_that_is_not_well_formed_is_refused(rig, raw):
    head, _, rest = raw.partition(b"\r\n")
    answer, reader, writer = await ask(rig, head + b"\r\n" + rig.credentials().encode() + rest)
    assert answer.status == 400
    assert answer.headers["connection"] == "close"
    assert await end_of(reader) == "closed"
    writer.close()
    (call,) = await rig.settled(1)
    assert call.decision["id"] == answer.headers["briefcased-receipt"]


@pytest.mark.parametrize("waits", [False, True])
async def test_both_eager_clients_and_those_that_wait_for_the_challenge_get_in(rig, waits):
    target = f"api.example.test:{rig.provider.port}"
    token = base64.b64encode(f"user:{rig.tokens['tester']}".encode()).decode()
    reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
    if waits:
        writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        challenge = await read_answer(reader)
        assert challenge.status == 407
        assert challenge.headers["proxy-authenticate"]
        assert "connection" not in challenge.headers
    writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic {token}\r\n\r\n".encode())
    assert (await read_answer(reader, head_only=True)).status == 200
    writer.close()


@pytest.mark.parametrize(
    "credential", ["Bearer nonsense", "Basic bm9ib2R5Og==", "Bearer bca_AAAAAAAAAAAA_" + "A" * 43, "Negotiate x"]
)
async def test_p5_a_wrong_token_is_refused_with_a_receipt(rig, credential):
    answer, _, writer = await ask(
        rig, f"CONNECT api.example.test:443 HTTP/1.1\r\nProxy-Authorization: {credential}\r\n\r\n".encode()
    )
    assert (answer.status, answer.problem) == (407, "proxy_auth_required")
    (call,) = await rig.settled(1)
    assert call.decision["agent"] == "-"
    writer.close()


async def test_p7_wrong_tokens_are_throttled_and_a_right_one_still_passes(rig):
    problems = []
    for _ in range(12):
        answer, _, writer = await ask(
            rig, b"CONNECT api.example.test:443 HTTP/1.1\r\nProxy-Authorization: Bearer no\r\n\r\n"
        )
        problems.append(answer.problem)
        writer.close()
    assert problems[0] == "proxy_auth_required"
    assert problems[-1] == "proxy_auth_throttled"
    assert (await rig.call("GET", "/x")).status == 200


async def test_an_unmanaged_host_is_refused_and_no_name_is_resolved(rig):
    for authority in (
        "evil.test:443",
        "api.example.test.evil.test:443",
        "xapi.example.test:443",
        "unmanaged.example.test:443",
    ):
        head = f"CONNECT {authority} HTTP/1.1\r\n{rig.credentials()}\r\n"
        answer, _, writer = await ask(rig, head.encode())
        assert answer.problem == "destination_not_allowed"
        writer.close()
    assert rig.provider.connections == 0


async def test_another_port_of_a_managed_host_is_refused(rig):
    head = f"CONNECT api.example.test:22 HTTP/1.1\r\n{rig.credentials()}\r\n"
    answer, _, writer = await ask(rig, head.encode())
    assert answer.problem == "destination_not_allowed"
    writer.close()


async def test_d09_a_providers_host_over_plain_http_is_refused(rig):
    for url in ("http://api.example.test/x", f"http://api.example.test:{rig.provider.port}/x"):
        answer = await rig.call("GET", url)
        assert answer.problem in ("credential_scope", "destination_not_allowed", "operation_not_allowed")
    assert rig.provider.connections == 0


UPGRADE = EXAMPLE.replace("port: {port}", "port: 443, http_upgrade: true")


async def test_http_is_upgraded_where_the_profile_allows(tmp_path):
    async with running_rig(
        tmp_path,
        profiles={"example": UPGRADE},
        settings={"providers": {"example": {"accounts": {"main": {"secrets": {"api_key": "env:EXAMPLE_API_KEY"}}}}}},
    ) as rig:
        rig.sidecar._lane._dialler._resolver._hosts.clear()
        dialler = rig.sidecar._lane._dialler
        original = dialler.connect
        dialled = []

        async def connect(dial):
            dialled.append(dial)
            from dataclasses import replace

            from proxy.model import Authority

            dialler._resolver._hosts["api.example.test"] = (__import__("ipaddress").ip_address("127.0.0.1"),)
            return await original(replace(dial, authority=Authority("api.example.test", rig.provider.port)))

        dialler.connect = connect
        answer = await rig.call("GET", "http://api.example.test/x")
        assert answer.status == 200
        assert dialled[0].tls
        assert dialled[0].authority.port == 443
        assert rig.provider.last.one("authorization") == f"Bearer {KEY}"
        assert KEY.encode() not in answer.body


async def test_plain_requests_of_one_connection_are_each_decided(rig):
    reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
    for host in ("evil.test", "api.example.test"):
        writer.write(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{rig.credentials()}\r\n".encode())
        answer = await read_answer(reader)
        assert answer.status == 403
    writer.close()
    calls = await rig.settled(2)
    assert [call.decision["host"] for call in calls] == ["evil.test", "api.example.test"]


async def test_unmatched_hosts_pass_unread_where_the_operator_says_so(tmp_path):
    async with running_rig(tmp_path, settings={"unmatched": "pass"}) as rig:
        reader, writer = await rig.connect(f"unmanaged.example.test:{rig.provider.port}")
        import ssl

        context = ssl.create_default_context(cafile=str(rig.provider.root))
        await writer.start_tls(context, server_hostname="unmanaged.example.test")
        writer.write(b"GET /x HTTP/1.1\r\nHost: unmanaged.example.test\r\nConnection: close\r\n\r\n")
        answer = await read_answer(reader)
        assert answer.status == 200
        assert rig.provider.last.one("authorization") is None
        writer.close()
        (call,) = await rig.settled(1)
    assert call.decision["tunnel"] is True
    assert call.outcome["response_bytes"] > 0


UNREAD = {"unmatched": "pass", "limits": {"idle_timeout_s": 0.4}}


async def tunnelled(tmp_path, serve, use):
    """The receipts of one unread tunnel to `serve`, which `use` used."""
    upstream = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = upstream.sockets[0].getsockname()[1]
    async with running_rig(tmp_path, settings=UNREAD) as rig:
        reader, writer = await rig.connect(f"unmanaged.example.test:{port}")
        try:
            await use(reader, writer)
            (call,) = await rig.settled(1)
        finally:
            writer.transport.abort()
    upstream.close()
    return call.outcome


async def test_p7_one_clock_for_both_ways_of_an_unread_tunnel(tmp_path):
    async def serve(reader, writer):
        for _ in range(5):  # longer than the idle time in all, never so long without a byte
            await asyncio.sleep(0.2)
            writer.write(b"x")
        writer.close()

    async def use(reader, writer):
        assert await reader.read() == b""
        writer.close()

    async def download(reader, writer):
        assert await reader.readexactly(5) == b"xxxxx"
        await use(reader, writer)

    outcome = await tunnelled(tmp_path, serve, download)
    assert (outcome["outcome"], outcome["request_bytes"], outcome["response_bytes"]) == ("completed", 0, 5)


async def test_p4_an_unread_tunnel_that_the_provider_resets_says_so(tmp_path):
    async def serve(reader, writer):
        await reader.readexactly(3)
        writer.write(b"ab")
        await asyncio.sleep(0.1)
        writer.transport.abort()

    async def use(reader, writer):
        writer.write(b"abc")
        assert await reader.readexactly(2) == b"ab"
        with contextlib.suppress(OSError):
            assert await reader.read() == b""

    async def give(reader, writer):
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await serve(reader, writer)

    outcome = await tunnelled(tmp_path, give, use)
    assert (outcome["outcome"], outcome["request_bytes"], outcome["response_bytes"]) == ("upstream_aborted", 3, 2)


async def test_p7_an_unread_tunnel_that_carries_nothing_ends(tmp_path):
    async def serve(reader, writer):
        await reader.read()
        writer.close()

    async def use(reader, writer):
        with contextlib.suppress(OSError):
            assert await asyncio.wait_for(reader.read(), 10) == b""

    assert (await tunnelled(tmp_path, serve, use))["outcome"] == "completed"


async def test_a02_our_own_listeners_cannot_be_reached_through_the_proxy(tmp_path):
    settings = {"unmatched": "pass", "egress": {"allow_private": [{"host": "localhost", "addresses": ["127.0.0.0/8"]}]}}
    async with running_rig(tmp_path, settings=settings, resolve={"localhost": ("127.0.0.1",)}) as rig:
        for port in (rig.sidecar.control[1], rig.sidecar.proxy[1]):
            for host in ("127.0.0.1", "localhost", "127.0.0.2", "[::1]", "0.0.0.0"):
                answer, _, writer = await ask(
                    rig, f"CONNECT {host}:{port} HTTP/1.1\r\n{rig.credentials()}\r\n".encode()
                )
                assert answer.problem == "destination_forbidden_address", host
                writer.close()
