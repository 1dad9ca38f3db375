"""What no library sends, written by hand through the real proxy: bombs, endless frames, pings between fragments."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import zlib
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.rig.raw import read_answer
from tests.rig.sidecar import KEY
from tests.websocket.conftest import closing_code, joined

MB = 1024 * 1024
BOMB_MB = 128


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / MB


def frame(first: int, payload: bytes = b"", *, masked: bool = True) -> bytes:
    size, mask = len(payload), 0x80 if masked else 0
    if size < 126:
        head = bytes((first, mask | size))
    elif size < 65_536:
        head = bytes((first, mask | 126)) + size.to_bytes(2)
    else:
        head = bytes((first, mask | 127)) + size.to_bytes(8)
    return head + (bytes(4) if masked else b"") + payload


def deflated(*pieces: bytes) -> list[bytes]:
    """One message in as many pieces."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    return [*packed[:-1], packed[-1].removesuffix(b"\0\0\xff\xff")]


def bomb(megabytes: int = BOMB_MB) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    pieces = [packer.compress(bytes(MB)) for _ in range(megabytes)]
    return b"".join((*pieces, packer.flush(zlib.Z_SYNC_FLUSH)))


async def opened(rig, path="/socket"):
    """A socket by hand, with compression offered."""
    reader, writer = await rig.tls()
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n".encode()
    )
    answer = await read_answer(reader, head_only=True)
    assert answer.status == 101
    return reader, writer


async def said_at_the_end(reader) -> bytes:
    """Everything until the connection ends."""
    seen = b""
    with contextlib.suppress(OSError):
        async with asyncio.timeout(10):
            while piece := await reader.read(65_536):
                seen += piece
    return seen


async def keep(socket):
    with contextlib.suppress(ConnectionClosed):
        async for message in socket:
            await socket.send(message)


async def test_p7_a_bomb_of_the_agent_closes_with_1009_and_memory_stays_flat(sockets):
    whole = frame(0xC2, bomb())
    async with sockets(keep) as rig:
        reader, writer = await opened(rig)
        gc.collect()
        before = resident_mb()
        writer.write(whole)
        said = await said_at_the_end(reader)
        most = resident_mb()
        writer.close()
        (call,) = await rig.settled(1)
    assert said == bytes((0x88, 2)) + (1009).to_bytes(2)
    assert most - before < 80, (before, most)  # of 128
    assert (call.outcome["error"], call.outcome["messages_sent"]) == ("message_too_large", 0)


async def test_p7_a_bomb_of_the_provider_closes_with_1009_and_memory_stays_flat(sockets):
    whole = frame(0xC2, bomb(), masked=False)

    async def burst(socket):
        socket.transport.write(whole)
        await socket.wait_closed()

    async with sockets(burst) as rig:
        gc.collect()
        before = resident_mb()
        async with joined(rig) as socket:
            assert await closing_code(socket) == 1009
        most = resident_mb()
        (call,) = await rig.settled(1)
    assert most - before < 80, (before, most)
    assert (call.outcome["error"], call.outcome["messages_received"]) == ("message_too_large", 0)


async def test_p7_a_packed_document_that_is_a_bomb_closes_with_1009(sockets):
    async def burst(socket):
        with contextlib.suppress(ConnectionClosed):
            await socket.send(zlib.compress(bytes(32 * MB)))
            await socket.wait_closed()

    async with sockets(burst) as rig:
        async with joined(rig) as socket:
            assert await closing_code(socket) == 1009
        await rig.settled(1)


async def test_p1_a_packed_document_is_searched_inside(sockets):
    async def tell(socket):
        await socket.send(zlib.compress(f"é {KEY}".encode()))
        await socket.send(zlib.compress(b"harmless"))

    async with sockets(tell) as rig:
        async with joined(rig) as socket:
            assert zlib.decompress(await socket.recv()).decode() == f"é {rig.stand_in()}"
            assert await socket.recv() == zlib.compress(b"harmless")
        (call,) = await rig.settled(1)
    assert call.outcome["redactions"] == 1


async def test_a_ping_between_the_fragments_of_a_compressed_message_is_carried_at_once(sockets):
    """wsproto loses the compression of such a message."""
    first, last = deflated(b"hello ", b"world")
    async with sockets(keep) as rig:
        reader, writer = await opened(rig)
        writer.write(frame(0x41, first) + frame(0x89, b"alive?"))
        assert await reader.readexactly(8) == frame(0x8A, b"alive?", masked=False)
        writer.write(frame(0x80, last))
        head = await reader.readexactly(2)
        inflate = zlib.decompressobj(-15)
        assert head[0] == 0xC1
        assert inflate.decompress(await reader.readexactly(head[1]) + b"\0\0\xff\xff") == b"hello world"
        writer.close()
        await rig.settled(1)


async def test_p7_a_frame_that_never_ends_is_closed_at_its_head(sockets):
    async with sockets(keep) as rig:
        reader, writer = await opened(rig)
        writer.write(b"\x82\xff" + (2**40).to_bytes(8) + bytes(4))
        assert await reader.readexactly(4) == bytes((0x88, 2)) + (1009).to_bytes(2)
        pushed = 0
        with contextlib.suppress(OSError):
            while pushed < 256 * MB and not writer.is_closing():
                writer.write(bytes(65_536))
                pushed += 65_536
                await writer.drain()
                await asyncio.sleep(0)
        assert pushed < 64 * MB
        (call,) = await rig.settled(1)
    assert call.outcome["error"] == "message_too_large"


@pytest.mark.parametrize(
    ("raw", "code", "fault"),
    [
        (frame(0x83), 1002, "malformed_frame"),
        (frame(0x81, b"x", masked=False), 1002, "malformed_frame"),
        (frame(0xB1, b"x"), 1002, "malformed_frame"),
        (frame(0x88, b"x"), 1002, "malformed_frame"),
        (frame(0x88, (1006).to_bytes(2)), 1002, "malformed_frame"),
        (frame(0x88, (999).to_bytes(2)), 1002, "malformed_frame"),
        (frame(0x88, (1000).to_bytes(2) + b"\xff"), 1002, "malformed_frame"),
        (frame(0x81, b"\xff"), 1007, "invalid_message"),
        (frame(0xC1, b"\xff\xff"), 1007, "invalid_message"),
    ],
)
async def test_what_breaks_the_protocol_closes_both_sides(sockets, raw, code, fault):
    codes = []

    async def wait(socket):
        codes.append(await closing_code(socket))

    async with sockets(wait) as rig:
        reader, writer = await opened(rig)
        writer.write(raw)
        assert await reader.readexactly(4) == bytes((0x88, 2)) + code.to_bytes(2)
        writer.write(frame(0x88, code.to_bytes(2)))
        assert await said_at_the_end(reader) == b""
        writer.close()
        (call,) = await rig.settled(1)
    assert codes == [code]
    assert (call.outcome["outcome"], call.outcome["error"]) == ("response_aborted", fault)


async def test_nothing_that_follows_a_close_frame_is_carried(sockets):
    got = []

    async def collect(socket):
        got.extend([message async for message in socket])

    async with sockets(collect) as rig:
        reader, writer = await opened(rig)
        writer.write(frame(0x81, b"before") + frame(0x88, (1000).to_bytes(2)) + frame(0x81, b"after"))
        assert await said_at_the_end(reader) == bytes((0x88, 2)) + (1000).to_bytes(2)
        writer.close()
        await rig.settled(1)
    assert got == ["before"]


@pytest.mark.parametrize("count", [3000, pytest.param(100_000, marks=pytest.mark.slow)])
async def test_p7_no_history_is_kept(sockets, count):
    payload = "x" * 1000
    async with sockets(keep, serving={"compression": None}) as rig:
        async with joined(rig, compression=None) as socket:

            async def talk(times):
                for _ in range(times // 100):
                    for _ in range(100):
                        await socket.send(payload)
                    for _ in range(100):
                        assert await socket.recv() == payload

            await talk(1000)
            gc.collect()
            before = resident_mb()
            await talk(count)
            gc.collect()
            grown = resident_mb() - before
        (call,) = await rig.settled(1)
    assert grown < max(2.0, count * len(payload) * 2 / MB / 20), grown
    assert call.outcome["messages_sent"] == call.outcome["messages_received"] == count + 1000
