"""P7: large bodies both ways with flat memory; websockets; connections that are reused."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import resource
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.rig import running_rig
from tests.rig.raw import end_of, read_answer
from tests.rig.sidecar import KEY

MB = 1024 * 1024
PIECE = bytes(range(256)) * 256


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MB


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("megabytes", [64, pytest.param(1024, marks=pytest.mark.slow)])
async def test_p7_a_large_download_streams(rig, http2, megabytes):
    async def send(_seen, _reader, writer):
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {megabytes * MB}\r\n\r\n".encode())
        for _ in range(megabytes * MB // len(PIECE)):
            writer.write(PIECE)
            await writer.drain()

    rig.provider.on("/big", send)
    digest, size, before, most = hashlib.sha256(), 0, resident_mb(), 0.0
    async with rig.client(http2=http2) as client, client.stream("GET", "/big") as answer:
        async for piece in answer.aiter_raw():
            digest.update(piece)
            size += len(piece)
            most = max(most, resident_mb())
    assert size == megabytes * MB
    assert most - before < 60
    (call,) = await rig.settled(1)
    assert call.outcome["response_bytes"] == size


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("megabytes", [64, pytest.param(1024, marks=pytest.mark.slow)])
async def test_p7_a_large_upload_streams(rig, http2, megabytes):
    counted = 0

    async def count(seen, reader, writer):
        nonlocal counted
        while counted < megabytes * MB:
            counted += len(await reader.read(MB))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    rig.provider.read_body = False
    rig.provider.on("/big", count)
    before, most = resident_mb(), 0.0

    async def pieces():
        nonlocal most
        for _ in range(megabytes * MB // len(PIECE)):
            most = max(most, resident_mb())
            yield PIECE

    answer = await rig.call(
        "PUT", "/big", http2=http2, content=pieces(), headers={"Content-Length": str(megabytes * MB)}
    )
    assert answer.status == 200
    assert counted == megabytes * MB
    assert most - before < 60
    (call,) = await rig.settled(1)
    assert call.outcome["request_bytes"] == megabytes * MB


async def test_upstream_connections_are_reused(rig):
    async with rig.client() as client:
        for _ in range(5):
            await client.get("/x")
    assert rig.provider.connections == 1


async def test_expect_100_continue_is_answered_by_us(rig):
    reader, writer = await rig.tls()
    head = f"POST /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    writer.write(head.encode())
    assert (await read_answer(reader, head_only=True)).status == 100
    writer.write(b"ok")
    assert (await read_answer(reader)).status == 200
    assert rig.provider.last.body == b"ok"
    assert rig.provider.last.one("expect") is None
    writer.close()


SOCKET_HOSTS = ("api.example.test", "other.example.test")


@pytest.fixture
async def socket_rig(tmp_path):
    async with running_rig(tmp_path) as outer:
        seen = []

        async def talk(connection):
            seen.append(connection.request.headers.get("Authorization"))
            async for message in connection:
                if message == "leak":
                    await connection.send(f"your key is {KEY}")
                elif message == "leak bytes":
                    await connection.send(KEY.encode())
                else:
                    await connection.send(message)

        context = outer.provider.contexts["api.example.test"]
        async with serve(talk, "127.0.0.1", 0, ssl=context, compression=None) as server:
            outer.provider.port = server.sockets[0].getsockname()[1]
            (tmp_path / "inner").mkdir()
            async with running_rig(tmp_path / "inner", provider=outer.provider) as rig:
                yield rig, seen


async def test_p1_websocket_frames_are_scrubbed_and_the_handshake_gets_the_key(socket_rig):
    rig, seen = socket_rig
    url = f"wss://api.example.test:{rig.provider.port}/socket"
    async with connect(
        url, proxy=rig.url(), ssl=rig.trust(), additional_headers={"Authorization": "Bearer nothing"}
    ) as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"
        await socket.send("leak")
        assert await socket.recv() == f"your key is {rig.stand_in()}"
        await socket.send("leak bytes")
        assert await socket.recv() == rig.stand_in().encode()
        await socket.send("x" * 100_000)
        assert await socket.recv() == "x" * 100_000
    assert seen == [f"Bearer {KEY}"]
    (call,) = await rig.settled(1)
    assert call.outcome["status"] == 101
    assert call.outcome["redactions"] == 2


async def test_a_websocket_where_none_is_listed_is_refused(socket_rig):
    rig, seen = socket_rig
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"wss://api.example.test:{rig.provider.port}/v1/other", proxy=rig.url(), ssl=rig.trust())
    assert refused.value.response.status_code == 403
    assert seen == []


async def test_p7_a_websocket_message_beyond_the_limit_resets(socket_rig):
    rig, _ = socket_rig
    url = f"wss://api.example.test:{rig.provider.port}/socket"
    async with connect(url, proxy=rig.url(), ssl=rig.trust(), max_size=None) as socket:
        with pytest.raises((ConnectionClosed, OSError)):
            for _ in range(3):
                await socket.send("x" * (17 * MB))
            await socket.recv()
    await rig.settled(1)


async def test_p7_a_websocket_frame_that_never_ends_resets(socket_rig):
    rig, _ = socket_rig
    reader, writer = await rig.tls()
    writer.write(
        f"GET /socket HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    assert (await read_answer(reader)).status == 101
    writer.write(b"\x82\xff" + (2**40).to_bytes(8) + b"\0\0\0\0")  # a masked binary frame of a terabyte
    pushed = 0
    with contextlib.suppress(OSError):
        while pushed < 64 * MB and not writer.is_closing():
            writer.write(PIECE)
            pushed += len(PIECE)
            await writer.drain()
            await asyncio.sleep(0)  # a writer that is lost does not wait
    assert pushed < 64 * MB
    (call,) = await rig.settled(1)
    assert call.outcome["error"] == "message_too_large"


async def test_a_switch_of_protocols_with_a_wrong_proof_is_withheld(rig):
    raw = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n"
    rig.provider.answers("/socket", raw)
    reader, writer = await rig.tls()
    writer.write(
        f"GET /socket HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    answer = await read_answer(reader)
    assert answer.problem == "response_withheld"
    writer.close()
    assert await end_of(reader) in ("closed", "reset")
    await asyncio.sleep(0)
