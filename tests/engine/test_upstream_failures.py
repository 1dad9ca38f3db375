"""What goes wrong on the way to the provider becomes one of our answers, and an outcome."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.rig import running_rig
from tests.rig.raw import read_answer

WITHHELD = {
    "not http": b"hello\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": b"HTTP/1.1 200 OK\r\nContent-Encoding: rot13\r\nContent-Length: 1\r\n\r\na",
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    "partial unasked": b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/2\r\nContent-Length: 1\r\n\r\na",
    "proxy challenge": b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("raw", WITHHELD.values(), ids=WITHHELD)
async def test_an_answer_that_cannot_be_checked_is_withheld(rig, raw):
    rig.provider.answers("/x", raw)
    answer = await rig.call("GET", "/x")
    assert answer.problem == "response_withheld"
    (call,) = await rig.settled(1)
    assert call.outcome["outcome"] == "response_withheld" or call.outcome["error"] == "response_withheld"
    assert await rig.problems() == ()


async def test_a_provider_that_closes_before_its_answer(rig):
    async def close(_seen, _reader, writer):
        writer.transport.abort()

    rig.provider.on("/x", close)
    answer = await rig.call("GET", "/x")
    assert answer.problem == "upstream_unreachable"
    (call,) = await rig.settled(1)
    assert call.outcome["outcome"] == "upstream_aborted"


async def test_a_provider_that_is_too_slow(rig):
    async def never(_seen, reader, _writer):
        await reader.read()

    rig.provider.on("/slow", never)
    answer = await rig.call("GET", "/slow")
    assert (answer.status, answer.problem) == (504, "upstream_timeout")
    await rig.settled(1)


@pytest.mark.parametrize("http2", [False, True])
async def test_p1_an_answer_that_breaks_off_is_cut_not_ended(rig, http2):
    async def break_off(_seen, _reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.transport.abort()

    rig.provider.on("/x", break_off)
    with pytest.raises(httpx.TransportError):
        await rig.call("GET", "/x", http2=http2)
    (call,) = await rig.settled(1)
    assert call.outcome["outcome"] == "upstream_aborted"


async def test_a_client_that_leaves_is_an_outcome(rig):
    arrived = asyncio.Event()

    async def slowly(_seen, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        arrived.set()
        await reader.read()

    rig.provider.on("/x", slowly)
    reader, writer = await rig.tls()
    writer.write(f"GET /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode())
    await arrived.wait()
    assert (await read_answer(reader, head_only=True)).status == 200
    writer.transport.abort()
    (call,) = await rig.settled(1)
    assert call.outcome["outcome"] == "client_aborted"


async def test_p2_a_certificate_of_another_name_gets_nothing(tmp_path):
    async with running_rig(tmp_path, hosts=("api.example.test", "other.example.test")) as rig:
        rig.provider.contexts["api.example.test"] = rig.provider.contexts["other.example.test"]
        answer = await rig.call("GET", "/x")
    assert answer.problem == "upstream_tls_untrusted"
    assert rig.provider.requests == []


async def test_p2_an_unknown_root_gets_nothing(tmp_path):
    from certs.authority import CertificateAuthority
    from proxy.clock import SystemClock

    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(CertificateAuthority.ephemeral(patterns=["x.test"], clock=SystemClock()).bundle_pem())
    settings = {
        "egress": {
            "allow_private": [{"host": "api.example.test", "addresses": ["127.0.0.1/32"]}],
            "ca_bundle": str(stranger),
        }
    }
    async with running_rig(tmp_path, settings=settings) as rig:
        answer = await rig.call("GET", "/x")
        (call,) = await rig.settled(1)
    assert answer.problem == "upstream_tls_untrusted"
    assert rig.provider.requests == []
    assert call.outcome["outcome"] == "not_sent"


async def test_nobody_listens(tmp_path):
    async with running_rig(tmp_path) as rig:
        await rig.provider.stop()
        answer = await rig.call("GET", "/x")
        (call,) = await rig.settled(1)
    assert answer.problem == "upstream_unreachable"
    assert call.outcome["outcome"] == "not_sent"
