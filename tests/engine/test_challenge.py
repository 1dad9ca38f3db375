"""The seam for challenges: 401, mint again, one more attempt inside the stream; the agent sees one answer."""

from __future__ import annotations

import asyncio

import pytest

from proxy.exchange import RETRIES_KEY, RETRY_KEY

CHALLENGE = (
    b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: DPoP error="use_dpop_nonce"\r\nContent-Length: 4\r\n\r\nnope'
)


class Retry:
    """Stands for a credential kind that learns from a challenge."""

    def __init__(self, *, retries: int, again: bool, waits: bool) -> None:
        self.retries, self.again, self.waits, self.asked = retries, again, waits, 0

    def requestheaders(self, flow):
        flow.metadata[RETRIES_KEY] = self.retries

    async def sidecar_retry(self, flow):
        self.asked += 1
        if self.waits:
            await asyncio.sleep(0.01)
        flow.request.headers["dpop"] = f"proof-{self.asked}"
        flow.metadata[RETRY_KEY] = self.again


async def challenged_once(seen, _reader, writer):
    if any(value.startswith("proof") for value in seen.all("dpop")):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"b\r\ndata: one\n\n\r\n")
        await writer.drain()
        writer.write(b"b\r\ndata: two\n\n\r\n0\r\n\r\n")
    else:
        writer.write(CHALLENGE)


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("waits", [False, True])
async def test_a_challenge_is_answered_unseen_and_the_answer_still_streams(rig, http2, waits):
    retry = Retry(retries=1, again=True, waits=waits)
    rig.sidecar._lane.master.addons.add(retry)
    rig.provider.on("/x", challenged_once)
    answer = await rig.call("GET", "/x", http2=http2)
    assert (answer.status, answer.body) == (200, b"data: one\n\ndata: two\n\n")
    assert len(rig.provider.requests) == 2
    assert retry.asked == 1
    (call,) = await rig.settled(1)
    assert call.outcome["status"] == 200
    assert await rig.problems() == ()


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("retries", [0, 1, 2])
async def test_d15_a_challenge_that_is_not_answered_is_given_on(rig, http2, retries):
    retry = Retry(retries=retries, again=retries == 2, waits=False)
    rig.sidecar._lane.master.addons.add(retry)
    rig.provider.answers("/x", CHALLENGE)
    answer = await rig.call("GET", "/x", http2=http2)
    assert (answer.status, answer.body) == (401, b"nope")
    assert len(rig.provider.requests) == {0: 1, 1: 1, 2: 3}[retries]
    (call,) = await rig.settled(1)
    assert call.outcome["status"] == 401


@pytest.mark.parametrize("http2", [False, True])
async def test_d15_a_streamed_body_is_not_sent_twice(rig, http2):
    retry = Retry(retries=1, again=True, waits=False)
    rig.sidecar._lane.master.addons.add(retry)
    rig.provider.on("/x", challenged_once)
    answer = await rig.call("POST", "/x", http2=http2, content=b"once")
    assert answer.status == 401
    assert len(rig.provider.requests) == 1


async def test_a_held_body_is_sent_again(rig):
    retry = Retry(retries=1, again=True, waits=False)
    rig.sidecar._lane.master.addons.add(retry)
    rig.provider.on("/in-body", challenged_once)
    answer = await rig.call("POST", "/in-body", json={"a": 1})
    assert answer.status == 200
    first, second = (seen.body for seen in rig.provider.requests)
    assert first == second


async def test_a_provider_that_closes_after_its_challenge(rig):
    async def close_after(seen, reader, writer):
        await challenged_once(seen, reader, writer)
        await writer.drain()
        if len(rig.provider.requests) == 1:
            writer.close()

    rig.sidecar._lane.master.addons.add(Retry(retries=1, again=True, waits=True))
    rig.provider.on("/x", close_after)
    answer = await rig.call("GET", "/x")
    assert answer.status == 200
    assert rig.provider.connections == 2
