"""HTTP/1 as clients and providers really speak it: Expect, HTTP/1.0, trailers, ranges, HEAD, 1xx, early answers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import pytest

from tests.rig import running_rig
from tests.rig.h2 import h2_agent
from tests.rig.provider import echo
from tests.rig.raw import end_of, read_answer
from tests.rig.sidecar import KEY

MB = 1024 * 1024


def head(rig, method: str = "GET", path: str = "/x", lines: str = "", version: str = "1.1") -> bytes:
    return f"{method} {path} HTTP/{version}\r\nHost: api.example.test:{rig.provider.port}\r\n{lines}\r\n".encode()


async def ask(rig, raw: bytes, *, head_only: bool = False):
    reader, writer = await rig.tls()
    writer.write(raw)
    answer = await read_answer(reader, head_only=head_only)
    return answer, reader, writer


# -- Expect ------------------------------------------------------------------------------------------------------


async def test_expect_100_continue_is_answered_by_us_and_never_forwarded(rig):
    interim, reader, writer = await ask(
        rig, head(rig, "POST", "/x", "Content-Length: 5\r\nExpect: 100-continue\r\n"), head_only=True
    )
    assert (interim.status, interim.headers) == (100, {})
    writer.write(b"hello")
    answer = await read_answer(reader)
    assert answer.status == 200
    assert rig.provider.last.body == b"hello"
    assert rig.provider.last.all("expect") == []
    writer.close()


async def test_expect_100_continue_of_a_refused_upload_gets_the_refusal_alone(rig):
    answer, reader, writer = await ask(rig, head(rig, "DELETE", "/x", "Content-Length: 5\r\nExpect: 100-continue\r\n"))
    assert (answer.status, answer.problem) == (403, "policy_denied")
    assert await end_of(reader) == "closed"
    assert rig.provider.requests == []
    writer.close()


# -- HTTP/1.0 and Connection: close ------------------------------------------------------------------------------


async def test_an_http10_client_gets_an_answer_without_chunks_and_the_end(rig):
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    rig.provider.answers("/x", raw)
    answer, _, writer = await ask(rig, head(rig, version="1.0"))
    assert (answer.status, answer.body, answer.ended) == (200, b"hello", "closed")
    assert "transfer-encoding" not in answer.headers
    writer.close()


@pytest.mark.parametrize(("version", "lines"), [("1.0", ""), ("1.1", "Connection: close\r\n")], ids=["1.0", "close"])
async def test_the_connection_ends_where_the_client_expects_it(rig, version, lines):
    rig.provider.answers("/x", b"HTTP/1.1 204 No Content\r\n\r\n")
    answer, reader, writer = await ask(rig, head(rig, lines=lines, version=version))
    assert (answer.status, answer.headers["connection"]) == (204, "close")
    assert await end_of(reader) == "closed"
    writer.close()


async def test_a_refused_http10_request_ends_the_connection(rig):
    answer, reader, writer = await ask(rig, head(rig, "DELETE", version="1.0"))
    assert answer.problem == "policy_denied"
    assert await end_of(reader) == "closed"
    writer.close()


# -- trailers ----------------------------------------------------------------------------------------------------


async def test_p8_trailers_of_http1_are_dropped_both_ways_and_the_connection_goes_on(rig):
    trailers = f"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Key: {KEY}\r\n\r\n"
    rig.provider.answers("/back", f"HTTP/1.1 200 OK\r\n{trailers}".encode())
    body = "Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n"
    answer, reader, writer = await ask(
        rig, head(rig, "POST", "/x", body) + b"5\r\nhello\r\n0\r\nAuthorization: Bearer mine\r\n\r\n"
    )
    assert answer.status == 200
    assert rig.provider.last.body == b"hello"
    assert rig.provider.last.all("trailer") == []
    writer.write(head(rig, path="/back"))
    answer = await read_answer(reader)
    assert answer.body == b"hello"
    writer.write(head(rig))
    assert (await read_answer(reader)).status == 200
    writer.close()


# -- ranges and HEAD ---------------------------------------------------------------------------------------------


async def test_a_range_is_carried_where_the_operation_allows_it(rig):
    async def part(seen, _reader, writer):
        assert seen.one("range") == "bytes=2-4"
        writer.write(b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/9\r\nContent-Length: 3\r\n\r\ncde")

    rig.provider.on("/ranged", part)
    answer = await rig.call("GET", "/ranged", headers={"Range": "bytes=2-4"})
    assert (answer.status, answer.body, answer.headers["content-range"]) == (206, b"cde", "bytes 2-4/9")


async def test_a_range_is_dropped_elsewhere_and_a_part_unasked_for_is_withheld(rig):
    answer = await rig.call("GET", "/x", headers={"Range": "bytes=2-4"})
    assert answer.status == 200
    assert rig.provider.last.all("range") == []
    rig.provider.answers(
        "/x", b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/9\r\nContent-Length: 3\r\n\r\ncde"
    )
    assert (await rig.call("GET", "/x")).problem == "response_withheld"


@pytest.mark.parametrize("http2", [False, True])
async def test_the_answer_to_head_has_a_length_and_no_body(rig, http2):
    rig.provider.answers("/x", b'HTTP/1.1 200 OK\r\nContent-Length: 123\r\nETag: "a"\r\n\r\n')
    async with rig.client(http2=http2) as client:
        for _ in range(2):  # the connection goes on
            answer = await client.head("/x")
            assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "123")
    assert rig.provider.last.method == "HEAD"


# -- interim answers ---------------------------------------------------------------------------------------------

INTERIM = f"HTTP/1.1 103 Early Hints\r\nLink: <{KEY}>\r\n\r\n".encode()


@pytest.mark.parametrize("interim", [INTERIM, b"HTTP/1.1 102 Processing\r\n\r\n" * 3, b"HTTP/1.1 100 Continue\r\n\r\n"],
                         ids=["103", "102", "100"])  # fmt: skip
@pytest.mark.parametrize("at_once", [True, False])
async def test_p1_interim_answers_of_a_provider_end_here(rig, interim, at_once):
    async def hinting(seen, reader, writer):
        writer.write(interim)
        if not at_once:
            await writer.drain()
            await asyncio.sleep(0.05)
        await echo(seen, reader, writer)

    rig.provider.on("/x", hinting)
    answer, reader, writer = await ask(rig, head(rig))
    assert answer.status == 200
    assert "link" not in answer.headers
    writer.write(head(rig))
    assert (await read_answer(reader)).status == 200
    writer.close()


async def test_p7_interim_answers_without_end_are_withheld(rig):
    rig.provider.answers("/x", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 40)
    answer, _, writer = await ask(rig, head(rig))
    assert answer.problem == "response_withheld"
    writer.close()


# -- early answers to uploads ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [True, False], ids=["closes", "stays"])
async def test_an_answer_before_the_body_is_read_reaches_the_agent(rig, ends):
    rig.provider.read_body = False

    async def early(_seen, reader, writer):
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        await writer.drain()
        if ends:
            writer.close()
        else:
            await reader.read()

    rig.provider.on("/x", early)
    reader, writer = await rig.tls()
    writer.write(head(rig, "POST", "/x", f"Content-Length: {100 * MB}\r\n") + b"x" * 1000)
    answer = await read_answer(reader)
    assert (answer.status, answer.body) == (413, b"big")
    assert await end_of(reader) in ("closed", "reset")
    writer.close()
    (call,) = await rig.settled(1)
    assert call.outcome["status"] == 413
    assert call.outcome["outcome"] == "completed"


async def test_a_client_that_keeps_uploading_still_reads_the_early_answer(rig):
    rig.provider.read_body = False
    rig.provider.answers("/x", b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
    reader, writer = await rig.tls()
    writer.write(head(rig, "POST", "/x", f"Content-Length: {100 * MB}\r\n"))

    async def push() -> None:
        try:
            for _ in range(100):
                writer.write(b"x" * 10_000)
                await writer.drain()
        except OSError:
            return

    async with asyncio.TaskGroup() as group:
        group.create_task(push())
        answer = await read_answer(reader)
    assert (answer.status, answer.body) == (413, b"big")
    writer.close()


# -- half-closed clients -----------------------------------------------------------------------------------------


async def plain(rig, raw: bytes):
    reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
    writer.write(raw)
    return reader, writer


def absolute(rig, path: str = "/x") -> bytes:
    target = f"http://open.example.test:{rig.provider.port}{path}"
    lines = f"Host: open.example.test:{rig.provider.port}\r\n{rig.credentials()}"
    return f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode()


@pytest.fixture
async def open_rig(tmp_path):
    """A provider without TLS, which is not managed and let through."""
    served = []

    async def serve(reader, writer):
        served.append(await reader.readuntil(b"\r\n\r\n"))
        if b"/wait" in served[-1]:
            await reader.read()
        else:
            await asyncio.sleep(0.3)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    host = "open.example.test"
    settings = {"unmatched": "pass", "egress": {"allow_private": [{"host": host, "addresses": ["127.0.0.1/32"]}]}}
    async with running_rig(tmp_path, settings=settings, resolve={host: ("127.0.0.1",)}) as rig:
        rig.provider.port = port
        yield rig, served
    server.close()


@pytest.mark.parametrize("count", [1, 2])
async def test_a_client_that_shuts_its_sending_side_still_gets_its_answers(open_rig, count):
    rig, served = open_rig
    reader, writer = await plain(rig, absolute(rig) * count)
    writer.write_eof()
    for _ in range(count):
        answer = await read_answer(reader)
        assert (answer.status, answer.body) == (200, b"hello")
    assert await end_of(reader) == "closed"
    assert len(served) == count
    calls = await rig.settled(count)
    assert [call.outcome["outcome"] for call in calls] == ["completed"] * count
    writer.close()


async def test_a_half_closed_client_that_is_gone_is_noticed(open_rig):
    rig, served = open_rig
    _, writer = await plain(rig, absolute(rig, "/wait"))
    writer.write_eof()
    async with asyncio.timeout(5):
        while not served:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert rig.sidecar.gauges()["connections"] == 1
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    (call,) = await rig.settled(1)
    assert call.outcome["outcome"] == "client_aborted"


@pytest.mark.slow
async def test_a_half_closed_client_whose_program_ended_is_noticed_after_a_while(open_rig):
    rig, served = open_rig
    _, writer = await plain(rig, absolute(rig, "/wait"))
    writer.write_eof()
    async with asyncio.timeout(5):
        while not served:
            await asyncio.sleep(0.01)
    writer.transport.abort()
    async with asyncio.timeout(100):
        while rig.sidecar.gauges()["connections"]:
            await asyncio.sleep(0.2)
    (call,) = await rig.settled(1)
    assert call.outcome["outcome"] == "client_aborted"


# -- held bodies -------------------------------------------------------------------------------------------------


@pytest.fixture
async def impatient(tmp_path):
    async with running_rig(tmp_path, settings={"limits": {"held_body_timeout_s": 0.4}}) as rig:
        yield rig


async def dribble(writer, piece) -> None:
    with contextlib.suppress(OSError):
        while True:
            writer.write(piece())
            await writer.drain()
            await asyncio.sleep(0.1)


async def test_p7_a_held_body_has_a_deadline(impatient):
    rig = impatient
    reader, writer = await rig.tls()
    writer.write(head(rig, "POST", "/in-body", "Content-Length: 1000\r\n"))
    pushing = asyncio.ensure_future(dribble(writer, lambda: b" "))
    answer = await read_answer(reader)
    assert (answer.status, answer.problem) == (408, "request_timeout")
    assert await end_of(reader) in ("closed", "reset")
    pushing.cancel()
    writer.close()
    (call,) = await rig.settled(1)
    assert call.decision["slug"] == "request_timeout"
    assert rig.provider.requests == []


async def test_p7_a_held_body_has_a_deadline_over_http2(impatient):
    agent = await h2_agent(impatient)
    agent.head(1, "POST", "/in-body", end=False)
    await agent.listen(5, 1)
    agent.head(3, "GET", "/x")  # the connection goes on
    await agent.listen(5, 3)
    assert agent.statuses == {1: "408", 3: "200"}
    agent.writer.transport.abort()
    await impatient.settled(2)


async def test_a_held_body_that_is_in_time_is_not_cut_later(impatient):
    async def late(seen, reader, writer):
        await asyncio.sleep(0.8)
        await echo(seen, reader, writer)

    impatient.provider.on("/in-body", late)
    assert (await impatient.call("POST", "/in-body", json={"token": "x"})).status == 200
