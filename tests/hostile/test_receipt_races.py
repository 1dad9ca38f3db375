"""P4 in every order of leaving: exactly one decision, exactly one outcome for what was allowed."""

from __future__ import annotations

import asyncio

import h2.config
import h2.connection
import h2.errors
import pytest

from tests.rig.raw import read_answer


class Stream:
    """An HTTP/2 agent by hand, whose frames leave when it says so."""

    def __init__(self, rig, reader, writer) -> None:
        self.authority = f"api.example.test:{rig.provider.port}"
        self.reader, self.writer = reader, writer
        config = h2.config.H2Configuration(client_side=True, validate_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()

    def head(
        self, number: int, method: str = "GET", path: str = "/x", *more: tuple[str, str], end: bool = True
    ) -> None:
        fields = [(":method", method), (":scheme", "https"), (":authority", self.authority), (":path", path), *more]
        self.h2.send_headers(number, fields, end_stream=end)

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    async def events_until(self, done, within_s: float = 10) -> list:
        found: list = []
        async with asyncio.timeout(within_s):
            while not done(found):
                data = await self.reader.read(65536)
                if not data:
                    break
                found += self.h2.receive_data(data)
                self.flush()
        return found


async def agent(rig) -> Stream:
    return Stream(rig, *await rig.tls(alpn="h2"))


async def whole(rig, count: int):
    calls = await rig.settled(count)
    assert len(calls) == count
    for call in calls:
        assert (call.outcome is not None) == (call.decision["decision"] == "allow")
    assert await rig.problems() == ()
    return calls


def judged(rig) -> asyncio.Event:
    """Set once a head was judged: from then on a body is held."""
    done, judge = asyncio.Event(), rig.sidecar.pipeline.on_head

    async def watched(*given, **named):
        step = await judge(*given, **named)
        done.set()
        return step

    rig.sidecar.pipeline.on_head = watched
    return done


def answered(number: int):
    return lambda events: any(
        getattr(e, "stream_id", None) == number and isinstance(e, (h2.events.StreamEnded, h2.events.StreamReset))
        for e in events
    )


async def test_p4_a_head_and_its_reset_in_one_packet_leave_the_others_alone(rig, caplog):
    client = await agent(rig)
    client.head(1)
    client.h2.reset_stream(1, h2.errors.ErrorCodes.CANCEL)
    client.head(3)
    client.flush()
    found = await client.events_until(answered(3))
    assert any(isinstance(e, h2.events.ResponseReceived) and e.stream_id == 3 for e in found)
    client.writer.transport.abort()
    await whole(rig, 2)
    assert "failed" not in caplog.text


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_p4_an_agent_that_leaves_with_its_head(rig, method):
    for _ in range(10):
        _, writer = await rig.tls()
        writer.write(f"{method} /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode())
        await asyncio.sleep(0)
        writer.transport.abort()
    await asyncio.sleep(0.2)
    async with asyncio.timeout(5):
        while rig.sidecar.gauges()["connections"]:
            await asyncio.sleep(0.02)
    calls = await rig.receipts()
    await whole(rig, len(calls))


async def test_p4_many_streams_reset_at_every_step(rig):
    client = await agent(rig)
    for index in range(60):
        number = 2 * index + 1
        client.head(number, "POST" if index % 2 else "GET", end=not index % 2)
        client.flush()
        await asyncio.sleep(0.002 * (index % 5))
        if index % 3:
            try:
                client.h2.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
            except h2.exceptions.ProtocolError:
                pass
            client.flush()
    await asyncio.sleep(0.1)
    client.writer.transport.abort()
    async with asyncio.timeout(5):
        while rig.sidecar.gauges()["connections"]:
            await asyncio.sleep(0.02)
    calls = await rig.receipts()
    await whole(rig, len(calls))


@pytest.mark.parametrize("half_close", [False, True])
async def test_p4_a_held_body_that_never_comes_is_one_refusal(rig, half_close, caplog):
    _, writer = await rig.tls()
    held = judged(rig)
    head = f"POST /in-body HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\nContent-Length: 100\r\n\r\n{{"
    writer.write(head.encode())
    await asyncio.wait_for(held.wait(), 10)
    if half_close:
        writer.close()
    else:
        writer.transport.abort()
    (call,) = await whole(rig, 1)
    assert call.decision["decision"] == "deny"
    assert "not acceptable" not in caplog.text
    assert rig.provider.connections == 0


async def test_p4_a_held_stream_reset_over_http2_is_one_refusal(rig, caplog):
    client = await agent(rig)
    held = judged(rig)
    client.head(1, "POST", "/in-body", end=False)
    client.flush()
    await asyncio.wait_for(held.wait(), 10)
    client.h2.reset_stream(1, h2.errors.ErrorCodes.CANCEL)
    client.flush()
    client.writer.transport.abort()
    (call,) = await whole(rig, 1)
    assert call.decision["decision"] == "deny"
    assert "not acceptable" not in caplog.text


async def test_p4_trailers_of_an_http1_provider_do_not_break_the_answer(rig):
    rig.provider.answers(
        "/x", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nServer-Timing: a\r\n\r\n"
    )
    reader, writer = await rig.tls()
    writer.write(f"GET /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode())
    answer = await read_answer(reader)
    writer.transport.abort()
    (call,) = await whole(rig, 1)
    assert (answer.body, answer.ended) == (b"ok", "open")
    assert call.outcome["outcome"] == "completed"


async def test_p4_trailers_of_an_http1_agent_get_an_answer(rig):
    rig.provider.read_body = False
    reader, writer = await rig.tls()
    head = f"POST /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode() + b"1\r\na\r\n0\r\nX-Trailer: a\r\n\r\n")
    answer = await read_answer(reader)
    writer.transport.abort()
    assert answer.status in (200, 400)
    await whole(rig, 1)


async def test_p4_an_answer_before_the_end_of_the_upload_ends_and_has_one_outcome(rig):
    rig.provider.read_body = False
    rig.provider.answers("/x", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    reader, writer = await rig.tls()
    head = f"POST /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\nContent-Length: 1000000\r\n\r\n"
    writer.write(head.encode() + b"x" * 1000)
    async with asyncio.timeout(10):
        answer = await read_answer(reader)
    assert (answer.body, answer.ended) == (b"ok", "open")
    writer.write(b"x" * 1000)
    await writer.drain()
    writer.transport.abort()
    await whole(rig, 1)


async def test_p4_a_drain_in_the_middle_of_everything(rig):
    async def never(_seen, reader, _writer):
        await reader.read()

    rig.provider.on("/x", never)
    client = await agent(rig)
    for number in (1, 3, 5):
        client.head(number, "GET", "/x" if number < 5 else "/y")
    client.head(7, "POST", "/in-body", end=False)
    client.flush()
    async with asyncio.timeout(10):
        while sum(call.decision["decision"] == "allow" for call in await rig.receipts()) < 3:
            await asyncio.sleep(0.02)
    rig.sidecar.pipeline.draining = True
    await rig.sidecar._lane.drain(0.1)
    calls = await whole(rig, 4)
    assert sum(call.decision["decision"] == "allow" for call in calls) == 3
