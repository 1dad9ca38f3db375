"""gRPC with grpcio on both sides: the four kinds of call, credentials in and out, deadlines, cancellation."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from tests.fakes.grpc_server import SERVICE
from tests.protocols.conftest import channel, grpc_rig
from tests.rig.program import spellings
from tests.rig.sidecar import KEY

LIMIT_S = 10


def path(method: str) -> str:
    return f"/{SERVICE}/{method}"


async def many(count: int):
    for index in range(count):
        yield b"%d" % index


async def test_a_unary_call_gets_the_credential_and_brings_none_back(served):
    rig, upstream, opened = served
    call = opened.unary_unary(path("Unary"))(b"hello", metadata=(("x-mine", "kept"),), timeout=LIMIT_S)
    answer = await call
    assert upstream.metadata["authorization"] == f"Bearer {KEY}"
    assert upstream.metadata["x-mine"] == "kept"
    assert answer.startswith(b"hello|Bearer ")
    assert answer.endswith(b"|end")
    fields = [*(await call.initial_metadata()), *(await call.trailing_metadata())]
    assert {key for key, _ in fields} >= {"told", "told-again", "told-bin"}
    assert_clean(answer, *(value for _, value in fields))
    (receipt,) = await rig.settled(1)
    assert receipt.outcome["outcome"] == "completed"
    assert receipt.outcome["redactions"] >= 4


async def test_server_streaming(served):
    rig, _, opened = served
    messages = [m async for m in opened.unary_stream(path("Down"))(b"50", timeout=LIMIT_S)]
    assert [m.split(b" ")[0] for m in messages] == [b"%d" % index for index in range(50)]
    assert_clean(*messages)
    await rig.settled(1)


async def test_client_streaming(served):
    rig, _, opened = served
    answer = await opened.stream_unary(path("Up"))(many(50), timeout=LIMIT_S)
    assert answer == b",".join(b"%d" % index for index in range(50))
    await rig.settled(1)


async def test_bidirectional_streaming_is_a_conversation(served):
    rig, _, opened = served
    call = opened.stream_stream(path("Both"))(timeout=LIMIT_S)
    for index in range(20):
        await call.write(b"word %d" % index)
        assert await call.read() == b"WORD %d" % index
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    await rig.settled(1)


async def test_p1_a_trailers_only_error_is_scrubbed_also_percent_encoded(served):
    rig, _, opened = served
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await opened.unary_unary(path("Fail"))(b"", timeout=LIMIT_S)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert caught.value.details() == f"bad key “Bearer {rig.stand_in()}” 100%"
    (receipt,) = await rig.settled(1)
    assert receipt.outcome["redactions"] == 1


async def test_p1_a_credential_that_grpc_must_percent_encode_is_scrubbed(tmp_path):
    secret = 'sk-example-50%"~<REAL>|^{0123}'
    async with grpc_rig(tmp_path, environment={"EXAMPLE_API_KEY": secret}) as (rig, upstream), channel(rig) as opened:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await opened.unary_unary(path("Fail"))(b"", timeout=LIMIT_S)
        assert upstream.metadata["authorization"] == f"Bearer {secret}"
        assert secret not in str(caught.value.details())
        assert rig.stand_in() in str(caught.value.details())


async def test_p1_a_provider_that_compresses_unasked_is_read(tmp_path):
    async with grpc_rig(tmp_path, compression=grpc.Compression.Gzip) as (rig, _), channel(rig) as opened:
        answer = await opened.unary_unary(path("Unary"))(b"a" * 2000, timeout=LIMIT_S)
        assert answer.startswith(b"a" * 2000 + b"|Bearer sk-")
        assert_clean(answer)
        (receipt,) = await rig.settled(1)
        assert receipt.outcome["outcome"] == "completed"


async def test_a_deadline_reaches_the_provider_and_ends_the_call(served):
    rig, upstream, opened = served
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await opened.unary_unary(path("Wait"))(b"", timeout=0.7)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert upstream.deadline_s is not None
    assert 0 < upstream.deadline_s <= 0.7
    await asyncio.wait_for(upstream.cancelled.wait(), LIMIT_S)
    (receipt,) = await rig.settled(1)
    assert receipt.outcome["outcome"] in ("client_aborted", "upstream_aborted", "completed")


async def test_a_cancellation_reaches_the_provider(served):
    rig, upstream, opened = served
    call = opened.unary_unary(path("Wait"))(b"", timeout=LIMIT_S)
    async with asyncio.timeout(LIMIT_S):
        while not upstream.metadata:
            await asyncio.sleep(0.01)
    assert not upstream.cancelled.is_set()
    call.cancel()
    await asyncio.wait_for(upstream.cancelled.wait(), 5)
    (receipt,) = await rig.settled(1)
    assert receipt.outcome["outcome"] == "client_aborted"


async def test_a_refusal_is_an_error_that_grpc_understands(tmp_path):
    async with grpc_rig(tmp_path, agents={"tester": ()}) as (rig, upstream), channel(rig) as opened:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await opened.unary_unary(path("Unary"))(b"", timeout=LIMIT_S)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert upstream.metadata == {}
        await rig.settled(1)


def assert_clean(*texts: str | bytes) -> None:
    for text in texts:
        data = text if isinstance(text, bytes) else text.encode()
        for index, form in enumerate(spellings(KEY)):
            assert form.encode() not in data, f"spelling {index} came back"
