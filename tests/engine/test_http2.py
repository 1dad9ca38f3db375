"""HTTP/2 on both legs: multiplexed, keyed by account, trailers scrubbed, broken answers cut."""

from __future__ import annotations

import asyncio

import h2.config
import h2.connection
import h2.events
import httpx
import pytest

from certs.authority import CertificateAuthority
from proxy.clock import SystemClock
from tests.fakes.h2_server import H2Provider
from tests.rig import Provider, running_rig
from tests.rig.provider import server_context
from tests.rig.sidecar import KEY


@pytest.fixture
async def h2_rig(tmp_path):
    authority = CertificateAuthority.ephemeral(patterns=["api.example.test"], clock=SystemClock())
    upstream = H2Provider(server_context(authority, "api.example.test", tmp_path))
    await upstream.start()
    root = tmp_path / "h2-root.pem"
    root.write_bytes(authority.bundle_pem())
    provider = Provider(tmp_path, ("api.example.test",), port=upstream.port, root=root)
    async with running_rig(tmp_path, provider=provider) as rig:
        yield rig, upstream
    await upstream.stop()


async def test_a_call_over_http2_on_both_legs(h2_rig):
    rig, upstream = h2_rig
    answer = await rig.call("POST", "/x?a=1", http2=True, content=b"hello")
    assert answer.status == 200
    _, head, body = upstream.requests[0]
    assert head[":path"] == "/x?a=1"
    assert head[":authority"] == f"api.example.test:{rig.provider.port}"
    assert head["authorization"] == f"Bearer {KEY}"
    assert body == b"hello"
    assert KEY.encode() not in answer.body
    assert rig.stand_in().encode() in answer.body
    (call,) = await rig.settled(1)
    assert call.outcome["outcome"] == "completed"


async def test_a_hundred_streams_share_one_upstream(h2_rig):
    rig, upstream = h2_rig
    async with rig.client(http2=True) as client:
        await client.get("/first")
        answers = await asyncio.gather(*(client.get(f"/{index}") for index in range(100)))
    assert {answer.status_code for answer in answers} == {200}
    assert {head[":path"] for _, head, _ in upstream.requests} == {"/first", *(f"/{index}" for index in range(100))}
    assert upstream.connections == 1
    assert await rig.problems() == ()


async def test_p1_trailers_over_http2_are_scrubbed(h2_rig):
    rig, upstream = h2_rig
    upstream.trailers = [("grpc-status", "7"), ("grpc-message", f"bad key {KEY}")]
    reader, writer = await rig.tls(alpn="h2")
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    authority = f"api.example.test:{rig.provider.port}"
    head = [(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", "/x")]
    connection.send_headers(1, head, end_stream=True)
    writer.write(connection.data_to_send())
    trailers, ended = {}, False
    async with asyncio.timeout(10):
        while not ended:
            for event in connection.receive_data(await reader.read(65536)):
                if isinstance(event, h2.events.TrailersReceived):
                    trailers = dict(event.headers)
                ended = ended or isinstance(event, h2.events.StreamEnded)
            writer.write(connection.data_to_send())
    assert trailers == {"grpc-status": "7", "grpc-message": f"bad key {rig.stand_in()}"}
    writer.close()


async def test_p1_an_answer_that_is_reset_is_reset_towards_the_agent(h2_rig):
    rig, upstream = h2_rig
    upstream.break_off = True
    with pytest.raises(httpx.TransportError):
        await rig.call("GET", "/x", http2=True)
    (call,) = await rig.settled(1)
    assert call.outcome["outcome"] == "upstream_aborted"


@pytest.mark.parametrize(
    "change",
    [
        {":authority": "other.example.test"},
        {":path": "x"},
        {":path": "/a/../b"},
        {":path": "https://evil.test/"},
        {":path": "/a b"},
        {":method": "TRACE"},
        {"host": "other.example.test"},
        {"connection": "close"},
        {"transfer-encoding": "chunked"},
        {"x-a": "a\rb"},
    ],
    ids=str,
)
async def test_p8_b25_bad_heads_over_http2_never_leave(h2_rig, change):
    rig, upstream = h2_rig
    reader, writer = await rig.tls(alpn="h2")
    config = h2.config.H2Configuration(
        client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="utf-8"
    )
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    head = {
        ":method": "GET",
        ":scheme": "https",
        ":authority": f"api.example.test:{rig.provider.port}",
        ":path": "/x",
        **change,
    }
    connection.send_headers(1, list(head.items()), end_stream=True)
    writer.write(connection.data_to_send())
    statuses, ended = [], False
    async with asyncio.timeout(10):
        while not ended and (data := await reader.read(65536)):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    statuses.append(int(dict(event.headers)[":status"]))
                ended = ended or isinstance(
                    event, (h2.events.StreamEnded, h2.events.StreamReset, h2.events.ConnectionTerminated)
                )
            writer.write(connection.data_to_send())
    assert all(status >= 400 for status in statuses)
    assert upstream.requests == []
    writer.close()
