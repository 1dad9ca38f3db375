"""What a call is charged, through the real proxy: read from answers and streams; the reserve where nothing is sure.

K-05, K-08 and K-11, as the names of the tests say.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio

from tests.metering.conftest import metered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
BODY = {"model": "small", "max_tokens": 100}
SENT = len(json.dumps(BODY))  # input_tokens of the reserve
COST = SENT + 2 * 100  # in micro-dollars: one for an input token, two for an output token
RESERVED = {"input_tokens": SENT, "output_tokens": 100, "usd": COST}
LIMITS = [
    {"name": "money", "unit": "usd", "limit": "1000"},
    {"name": "in", "unit": "input_tokens", "limit": 10**9},
    {"name": "out", "unit": "output_tokens", "limit": 10**9},
    {"name": "mails", "unit": "mails", "limit": 10**6},
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with metered(tmp_path_factory.mktemp("meters"), *LIMITS) as rig:
        yield rig


def amounts(text: object) -> dict[str, int]:
    return {unit: int(amount) for unit, _, amount in (one.partition("=") for one in str(text).split())}


async def charged(rig: Rig, path: str, body: bytes, **options: Any) -> tuple[dict[str, int], dict[str, int], str]:
    """Reserved, used, and the units of which nothing was known, of one more call."""
    before = len(await rig.receipts())
    with contextlib.suppress(httpx.HTTPError):
        await rig.call("POST", path, content=body, **options)
    calls = await rig.settled(before + 1)
    newest = max(calls, key=lambda call: str(call.decision["id"]))
    assert newest.outcome is not None
    outcome = newest.outcome
    return amounts(newest.decision["reserved"]), amounts(outcome["used"]), str(outcome["estimated"] or "")


def answer(content: bytes, kind: str = "application/json", status: str = "200 OK", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n{more}\r\n"
    return head.encode() + content


def told(**usage: Any) -> bytes:
    return json.dumps({"usage": usage}).encode()


@pytest.mark.parametrize(
    ("usage", "used", "estimated"),
    [
        ({"input": 10, "output": 20}, {"input_tokens": 10, "output_tokens": 20, "usd": 50}, ""),
        ({"input": 10}, {"input_tokens": 10, "output_tokens": 100, "usd": COST}, "output_tokens usd"),
        ({}, RESERVED, "input_tokens output_tokens usd"),
        ({"input": 0, "output": 0}, RESERVED, "input_tokens output_tokens usd"),
        ({"input": -1, "output": 20}, {**RESERVED, "output_tokens": 20}, "input_tokens usd"),
        ({"input": 1.5, "output": True}, RESERVED, "input_tokens output_tokens usd"),
        ({"input": "10", "output": None}, RESERVED, "input_tokens output_tokens usd"),
        ({"input": 10**30, "output": 20}, {**RESERVED, "output_tokens": 20}, "input_tokens usd"),
        ({"input": float("nan"), "output": 20}, RESERVED, "input_tokens output_tokens usd"),
        ({"input": 10, "output": 10**6}, {**RESERVED, "input_tokens": 10}, ""),
    ],
)
async def test_k_05_k_08_what_the_answer_tells_is_charged_if_it_can_be(
    rig: Rig, usage: dict[str, Any], used: dict[str, int], estimated: str
) -> None:
    rig.provider.answers("/chat", answer(told(**usage)))
    assert await charged(rig, "/chat", json.dumps(BODY).encode()) == (RESERVED, used, estimated)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"not json", {"input_tokens": 100_000, "output_tokens": 80_000}),
        (b'{"max_tokens":1,"max_tokens":5}', {"input_tokens": 100_000, "output_tokens": 80_000}),
        (b'{"max_tokens":-5}', {"output_tokens": 8_000}),
        (b'{"max_tokens":1e3}', {"output_tokens": 8_000}),
        (b'{"max_tokens":99999999}', {"output_tokens": 8_000}),
        (b"{}", {"input_tokens": 2, "output_tokens": 4_000}),
        (b'{"n":3,"max_tokens":10}', {"output_tokens": 30}),
        (b'{"n":3000,"max_tokens":10}', {"output_tokens": 100}),
        (b'{"model":"large-9","max_tokens":1}', {"usd": 10 * 34 + 20}),
        (b'{"model":"other","max_tokens":1}', {"usd": 10 * 32 + 20}),
    ],
)
async def test_k_11_what_cannot_be_read_reserves_the_most(rig: Rig, body: bytes, wanted: dict[str, int]) -> None:
    reserved, _, _ = await charged(rig, "/chat", body)
    assert {unit: reserved[unit] for unit in wanted} == wanted


@pytest.mark.parametrize(
    ("body", "mails"), [(b'{"to":["a","b","c"]}', 3), (b'{"to":"a"}', 1), (b'{"to":{}}', 50), (b"?", 50)]
)
async def test_k_11_one_call_with_many_effects_counts_them_all(rig: Rig, body: bytes, mails: int) -> None:
    reserved, used, _ = await charged(rig, "/mail", body)
    assert (reserved, used) == ({"mails": mails}, {"mails": mails})


def stream(*events: dict[str, Any], end: bool = True) -> Any:
    async def handler(_seen: object, _reader: object, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for event in events:
            line = b"event: x\ndata: " + json.dumps(event).encode() + b"\n\n"
            for piece in (line[:17], line[17:]):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
        writer.write(b"0\r\n\r\n") if end else writer.close()

    return handler


START, PART, LAST = {"message": {"usage": {"input": 11}}}, {"text": "hi"}, {"usage": {"output": 7}}


@pytest.mark.parametrize(
    ("events", "end", "used"),
    [
        (
            (START, PART, {"usage": {"output": 3}}, PART, LAST),
            True,
            {"input_tokens": 11, "output_tokens": 7, "usd": 25},
        ),
        ((START, PART), True, {**RESERVED, "input_tokens": 11}),
        ((START, PART, LAST), False, {**RESERVED, "input_tokens": 11}),
        ((PART,), False, RESERVED),
    ],
)
async def test_k_08_a_stream_is_charged_by_its_last_word(
    rig: Rig, events: tuple[dict[str, Any], ...], end: bool, used: dict[str, int]
) -> None:
    rig.provider.on("/chat", stream(*events, end=end))
    assert (await charged(rig, "/chat", json.dumps(BODY).encode()))[1] == used


async def test_a_stream_passes_unchanged(rig: Rig) -> None:
    rig.provider.on("/chat", stream(START, PART, LAST))
    got = await rig.call("POST", "/chat", content=json.dumps(BODY).encode())
    assert got.body == b"".join(b"event: x\ndata: " + json.dumps(e).encode() + b"\n\n" for e in (START, PART, LAST))


async def test_what_a_provider_refuses_costs_nothing(rig: Rig) -> None:
    rig.provider.answers("/chat", answer(b"{}", status="429 Too Many Requests"))
    none = dict.fromkeys(RESERVED, 0)
    assert await charged(rig, "/chat", json.dumps(BODY).encode()) == (RESERVED, none, "")
    rig.provider.answers("/chat", answer(b"{}", status="500 Oh"))
    assert (await charged(rig, "/chat", json.dumps(BODY).encode()))[1] == RESERVED
