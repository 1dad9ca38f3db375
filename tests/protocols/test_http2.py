"""HTTP/2 with many streams, cancellations and trailers; resets are limited by rate (CVE-2023-44487)."""

from __future__ import annotations

import asyncio

import pytest
from h2.errors import ErrorCodes

from proxy.engine.http2 import RESET_BURST, RESETS_PER_S, ResetRate
from tests.rig.h2 import h2_agent
from tests.rig.sidecar import KEY

ALL = range(1, 201, 2)
"""A hundred streams."""


async def waits(_seen, reader, _writer):
    await reader.read()


async def test_a_hundred_streams_of_which_every_other_is_cancelled(rig):
    rig.provider.on("/waits", waits)
    agent = await h2_agent(rig)
    for number in ALL:
        agent.head(number, "GET", "/waits" if number % 4 == 1 else f"/{number}")
    quick = [number for number in ALL if number % 4 == 3]
    await agent.listen(20, *quick)
    for number in set(ALL) - set(quick):
        agent.h2.reset_stream(number, ErrorCodes.CANCEL)
    agent.head(201, "GET", "/after")
    await agent.listen(20, 201)
    assert agent.statuses == dict.fromkeys([*quick, 201], "200")
    assert agent.over is None
    calls = await rig.settled(101)
    outcomes = [call.outcome["outcome"] for call in calls]
    assert (outcomes.count("completed"), outcomes.count("client_aborted")) == (51, 50)
    assert await rig.problems() == ()
    agent.writer.transport.abort()


async def test_p7_one_stream_more_than_a_hundred_ends_the_connection(rig):
    rig.provider.on("/waits", waits)
    agent = await h2_agent(rig)
    agent.h2.remote_settings.max_concurrent_streams = 1000
    for number in range(1, 205, 2):
        agent.head(number, "GET", "/waits")
    await agent.listen(10)
    assert agent.over == ErrorCodes.PROTOCOL_ERROR
    assert len(rig.provider.requests) <= 100


async def test_p7_rapid_resets_end_the_connection_and_leave_receipts(rig):
    rig.provider.on("/waits", waits)
    agent = await h2_agent(rig)
    for number in range(1, 2 * (RESET_BURST + 200), 2):
        agent.head(number, "GET", "/waits")
        agent.h2.reset_stream(number, ErrorCodes.CANCEL)
    await agent.listen(10)
    assert agent.over == ErrorCodes.ENHANCE_YOUR_CALM
    calls = await rig.settled(1)
    assert RESET_BURST <= len(calls) <= RESET_BURST + 150
    assert {call.outcome["outcome"] for call in calls} == {"client_aborted"}
    assert rig.provider.requests == []
    assert await rig.problems() == ()


async def test_p7_resets_are_a_rate_not_a_total():
    rate, now_s = ResetRate(), 100.0
    assert all(rate.allows(now_s) for _ in range(RESET_BURST))
    assert not rate.allows(now_s)
    for _ in range(20 * RESET_BURST):
        now_s += 1.01 / RESETS_PER_S
        rate.allows(now_s)
    assert rate.allows(now_s + 1)
    assert not all(rate.allows(now_s + 1) for _ in range(RESET_BURST))


@pytest.mark.slow
async def test_an_agent_that_cancels_now_and_then_for_long_goes_on(rig):
    rig.provider.on("/waits", waits)
    agent = await h2_agent(rig)
    number = 1
    for _ in range(2 * RESET_BURST):
        agent.head(number, "GET", "/waits")
        agent.h2.reset_stream(number, ErrorCodes.CANCEL)
        number += 2
        await agent.listen(1 / RESETS_PER_S + 0.005)
    agent.head(number, "GET", "/x")
    await agent.listen(10, number)
    assert agent.statuses == {number: "200"}
    agent.writer.transport.abort()
    await rig.settled(1)


async def test_p8_an_http1_provider_sees_no_te_and_the_answer_loses_its_trailers(rig):
    raw = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Key: {KEY}\r\n\r\n"
    rig.provider.answers("/x", raw.encode())
    agent = await h2_agent(rig)
    agent.head(1, "POST", "/x", ("te", "trailers"), end=False)
    agent.h2.send_data(1, b"hello")
    agent.h2.send_headers(1, [("x-late", "1")], end_stream=True)
    await agent.listen(10, 1)
    assert (agent.statuses, agent.bodies, agent.trailers) == ({1: "200"}, {1: b"hello"}, {})
    assert rig.provider.last.body == b"hello"
    assert rig.provider.last.all("te") == rig.provider.last.all("x-late") == []
    agent.writer.transport.abort()
    await rig.settled(1)


@pytest.mark.parametrize("te", ["gzip", "gzip, trailers", "TRAILERS"])
async def test_p8_only_te_trailers_is_carried(rig, te):
    agent = await h2_agent(rig)
    agent.head(1, "GET", "/x", ("te", te))
    await agent.listen(10, 1)
    assert agent.statuses.get(1, "400") in ("200", "400")  # HTTP/2 itself knows no other: it may end the connection
    agent.writer.transport.abort()
    assert all(seen.all("te") == [] for seen in rig.provider.requests)
    await asyncio.sleep(0)


async def test_expect_100_continue_over_http2(rig):
    agent = await h2_agent(rig)
    agent.head(1, "POST", "/x", ("expect", "100-continue"), ("content-length", "5"), end=False)
    await agent.listen(0.3)
    agent.h2.send_data(1, b"hello", end_stream=True)
    await agent.listen(10, 1)
    assert agent.statuses == {1: "200"}
    assert rig.provider.last.body == b"hello"
    agent.writer.transport.abort()
    await rig.settled(1)


async def test_an_early_answer_to_an_upload_leaves_other_streams_alone(rig):
    rig.provider.read_body = False
    rig.provider.answers("/big", b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
    agent = await h2_agent(rig)
    agent.head(1, "POST", "/big", ("content-length", "100000000"), end=False)
    agent.h2.send_data(1, b"x" * 10_000)
    await agent.listen(10, 1)
    agent.head(3, "GET", "/x")
    await agent.listen(10, 3)
    assert agent.statuses == {1: "413", 3: "200"}
    assert agent.bodies[1] == b"big"
    agent.writer.transport.abort()
    await rig.settled(2)
