"""P7: what one side pushes while nobody reads on stays bounded."""

from __future__ import annotations

import asyncio

import h2.config
import h2.connection
import h2.events
import pytest

from tests.rig.raw import read_answer

MB = 1024 * 1024
PIECE = b"x" * 65_536
PUSHED = 40 * MB
BOUND = 24 * MB
"""The kernel's buffers on loopback hold up to ten megabytes of it."""


async def push(writer, piece: bytes = PIECE, most: int = PUSHED) -> int:
    """How much the other side takes before it stops reading for half a second."""
    taken = 0
    try:
        while taken < most:
            writer.write(piece)
            async with asyncio.timeout(0.5):
                await writer.drain()
            taken += len(piece)
    except (TimeoutError, OSError):
        pass
    return taken


async def never(_seen, reader, _writer):
    await reader.read()


def head(rig, method: str = "GET", path: str = "/x", lines: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n{lines}\r\n".encode()


async def test_p7_what_an_agent_pipelines_is_bounded(rig):
    rig.provider.on("/x", never)
    _, writer = await rig.tls()
    writer.write(head(rig))
    taken = await push(writer)
    writer.transport.abort()
    assert taken < BOUND
    await rig.settled(1)


async def test_p7_a_chunk_extension_that_never_ends_is_bounded(rig):
    rig.provider.read_body = False
    rig.provider.on("/x", never)
    _, writer = await rig.tls()
    writer.write(head(rig, "POST", "/x", "Transfer-Encoding: chunked\r\n") + b"5;")
    taken = await push(writer)
    writer.transport.abort()
    assert taken < BOUND
    await rig.settled(1)


async def test_p7_trailers_that_never_end_are_bounded(rig):
    rig.provider.read_body = False
    rig.provider.on("/x", never)
    _, writer = await rig.tls()
    writer.write(head(rig, "POST", "/x", "Transfer-Encoding: chunked\r\n") + b"1\r\na\r\n0\r\n")
    taken = await push(writer, b"a: b\r\n" * 10_000)
    writer.transport.abort()
    assert taken < BOUND
    await rig.settled(1)


ENDLESS = {
    "head": b"HTTP/1.1 200 OK\r\nA: ",
    "chunk extension": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;",
}


@pytest.mark.parametrize("begun", ENDLESS.values(), ids=ENDLESS)
async def test_p7_a_provider_that_never_ends_a_line_is_bounded(rig, begun):
    taken = 0

    async def flood(_seen, _reader, writer):
        nonlocal taken
        writer.write(begun)
        taken = await push(writer)

    rig.provider.on("/x", flood)
    _, writer = await rig.tls()
    writer.write(head(rig))
    async with asyncio.timeout(5):
        while taken == 0:
            await asyncio.sleep(0.05)
    writer.transport.abort()
    assert taken < BOUND
    await rig.settled(1)


async def test_p7_an_answer_for_a_closed_window_is_bounded(rig):
    taken = 0

    async def flood(_seen, _reader, writer):
        nonlocal taken
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        taken = await push(writer)

    rig.provider.on("/x", flood)
    reader, writer = await rig.tls(alpn="h2")
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.local_settings.initial_window_size = 0
    connection.initiate_connection()
    authority = f"api.example.test:{rig.provider.port}"
    fields = [(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", "/x")]
    connection.send_headers(1, fields, end_stream=True)
    writer.write(connection.data_to_send())
    async with asyncio.timeout(8):
        while taken == 0:
            await asyncio.sleep(0.05)
    writer.transport.abort()
    assert taken < BOUND
    await rig.settled(1)


async def test_p7_an_agent_that_does_not_read_stops_the_provider(rig):
    taken = 0

    async def flood(_seen, _reader, writer):
        nonlocal taken
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        taken = await push(writer)

    rig.provider.on("/x", flood)
    _, writer = await rig.tls()
    writer.write(head(rig))
    async with asyncio.timeout(5):
        while taken == 0:
            await asyncio.sleep(0.05)
    writer.transport.abort()
    assert taken < BOUND
    (call,) = await rig.settled(1)
    assert call.outcome["outcome"] == "client_aborted"


async def test_a_refusal_while_pipelining_keeps_the_order(rig):
    reader, writer = await rig.tls()
    writer.write(head(rig, path="/one") + head(rig, "DELETE", "/two") + head(rig, path="/three"))
    assert [(await read_answer(reader)).status for _ in range(3)] == [200, 403, 200]
    writer.transport.abort()
    assert len(await rig.settled(3)) == 3
