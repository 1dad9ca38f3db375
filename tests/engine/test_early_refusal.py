"""A refusal is sent at once; the body that follows is neither read into memory nor carried."""

from __future__ import annotations

import asyncio

import h2.config
import h2.connection
import h2.events
import pytest

from tests.rig.raw import end_of, read_answer

HUNDRED_MB = 100 * 1024 * 1024


async def test_p7_a_denied_upload_is_answered_before_its_body(rig):
    reader, writer = await rig.tls()
    head = f"DELETE /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\nContent-Length: {HUNDRED_MB}\r\n\r\n"
    writer.write(head.encode() + b"x" * 1000)
    answer = await read_answer(reader)
    assert (answer.status, answer.problem) == (403, "policy_denied")
    assert answer.headers["connection"] == "close"
    assert await end_of(reader) == "closed"
    assert rig.provider.connections == 0
    writer.close()


async def test_p7_a_client_that_goes_on_uploading_still_reads_the_refusal(rig):
    reader, writer = await rig.tls()
    head = f"DELETE /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\nContent-Length: {HUNDRED_MB}\r\n\r\n"
    writer.write(head.encode())

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
    assert answer.problem == "policy_denied"
    writer.close()


async def test_p7_a_denied_upload_over_http2_leaves_other_streams_alone(rig):
    reader, writer = await rig.tls(alpn="h2")
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    authority = f"api.example.test:{rig.provider.port}"
    head = [(":method", "DELETE"), (":scheme", "https"), (":authority", authority), (":path", "/x")]
    connection.send_headers(1, head)
    connection.send_data(1, b"x" * 10_000)
    connection.send_headers(3, [(":method", "GET"), *head[1:]], end_stream=True)
    writer.write(connection.data_to_send())
    statuses: dict[int, str] = {}
    ended: set[int] = set()
    async with asyncio.timeout(10):
        while ended != {1, 3}:
            for event in connection.receive_data(await reader.read(65536)):
                if isinstance(event, h2.events.ResponseReceived):
                    statuses[event.stream_id] = dict(event.headers)[b":status"].decode()
                if isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    ended.add(event.stream_id)
            writer.write(connection.data_to_send())
    assert statuses == {1: "403", 3: "200"}
    writer.close()


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_beyond_the_operations_limit_is_refused(rig, declared):
    content = b"x" * 2000

    async def pieces():
        yield content[:900]
        yield content[900:]

    answer = await rig.call("POST", "/small", content=content if declared else pieces())
    assert answer.problem == "request_too_large"
    assert all(len(seen.body) < 2000 for seen in rig.provider.requests)
    await rig.settled(1)
    assert await rig.problems() == ()


async def test_a_held_body_gets_the_credential_and_a_larger_one_is_refused(rig):
    answer = await rig.call("POST", "/in-body", json={"token": rig.stand_in(), "text": "hello"})
    assert answer.status == 200
    assert b'"token":"sk-example-REAL-0123456789abcdefghij"' in rig.provider.last.body
    assert rig.provider.last.one("content-length") == str(len(rig.provider.last.body))
    assert b"REAL" not in answer.body
    too_large = await rig.call("POST", "/in-body", content=b'{"a":"' + b"x" * 5000 + b'"}')
    assert too_large.problem == "request_too_large"
    wrong = await rig.call("POST", "/in-body", content=b"not json")
    assert wrong.problem == "invalid_request"
    assert len(rig.provider.requests) == 1
    await rig.settled(3)
    assert await rig.problems() == ()
