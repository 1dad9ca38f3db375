"""P1 through the real engine: chunks, codings, protocols, headers, trailers."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import zlib
from urllib.parse import quote

import brotli
import pytest
import zstandard

from tests.rig.raw import read_answer
from tests.rig.sidecar import KEY

CODINGS = {
    "identity": lambda data: data,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
FORMS = {
    "plain": KEY,
    "base64": base64.b64encode(f"Bearer {KEY}".encode()).decode(),
    "percent": quote("<" + KEY + ">", safe="").replace("-", "%2D"),
    "json": json.dumps({"a": KEY}).replace("-", "\\u002d"),
    "hex": KEY.encode().hex(),
}


def leaks(body: bytes) -> bool:
    decoded = [body, base64.b64decode(body + b"==", validate=False) if body.isalnum() else b""]
    return any(KEY.encode() in text or KEY.encode().hex().encode() in text for text in decoded)


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_p1_an_echo_is_scrubbed_in_every_coding_and_cut(rig, coding, size, http2):
    text = ("x" * 50 + f" token={KEY}; ").encode() * 3
    body = CODINGS[coding](text)

    async def answer(_seen, _reader, writer):
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for at in range(0, len(body), size):
            piece = body[at : at + size]
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        writer.write(b"0\r\n\r\n")

    rig.provider.on("/x", answer)
    got = await rig.call("GET", "/x", http2=http2)
    assert got.status == 200
    assert "content-encoding" not in got.headers or coding == "identity"
    assert got.body == text.replace(KEY.encode(), rig.stand_in().encode())
    (call,) = await rig.settled(1)
    assert call.outcome["redactions"] == 3


@pytest.mark.parametrize("form", FORMS)
async def test_p1_encoded_forms_are_scrubbed_in_headers_and_body(rig, form):
    value = FORMS[form]
    raw = f"HTTP/1.1 200 OK\r\nX-Echo: {value}\r\nSet-Cookie: a={value}\r\nContent-Length: {len(value)}\r\n\r\n{value}"
    rig.provider.answers("/x", raw.encode())
    got = await rig.call("GET", "/x")
    everything = got.body.decode() + str(got.headers)
    assert value not in everything
    (call,) = await rig.settled(1)
    assert call.outcome["redactions"] == 3


async def test_p1_a_reason_phrase_is_never_passed_on(rig):
    rig.provider.answers("/x", f"HTTP/1.1 200 {KEY}\r\nContent-Length: 2\r\n\r\nok".encode())
    reader, writer = await rig.tls()
    writer.write(f"GET /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()


async def test_p1_trailers_of_http1_are_dropped(rig):
    trailers = f"2\r\nok\r\n0\r\nX-Trailer: {KEY}\r\n\r\n"
    rig.provider.answers("/x", f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{trailers}".encode())
    reader, writer = await rig.tls()
    writer.write(f"GET /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode())
    received = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
    assert b"2\r\nok\r\n" in received
    assert KEY.encode() not in received
    assert b"x-trailer" not in received.lower()
    await rig.settled(1)
    assert await rig.problems() == ()
    writer.close()


async def test_p1_a_secret_of_one_provider_is_scrubbed_at_another(rig):
    rig.provider.answers("/x", f"HTTP/1.1 200 OK\r\nContent-Length: {len(KEY)}\r\n\r\n{KEY}".encode())
    got = await rig.call("GET", f"https://other.example.test:{rig.provider.port}/x")
    assert got.body == rig.stand_in().encode()


async def test_events_are_not_held_back(rig):
    got_one = asyncio.Event()

    async def stream(_seen, _reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"a\r\ndata: one\n\r\n1\r\n\n\r\n")
        await writer.drain()
        await asyncio.wait_for(got_one.wait(), 10)  # the second event is sent only once the first has arrived
        writer.write(b"b\r\ndata: two\n\n\r\n0\r\n\r\n")

    rig.provider.on("/x", stream)
    events = []
    async with rig.client() as client, client.stream("GET", "/x") as answer:
        async for line in answer.aiter_lines():
            if line:
                events.append(line)
                got_one.set()
    assert events == ["data: one", "data: two"]


async def test_a_range_is_not_asked_for_unless_the_operation_allows_it(rig):
    await rig.call("GET", "/x", headers={"Range": "bytes=0-1"})
    assert rig.provider.last.one("range") is None
    await rig.call("GET", "/ranged", headers={"Range": "bytes=0-1"})
    assert rig.provider.last.one("range") == "bytes=0-1"


async def test_p1_a_hit_after_the_answer_began_is_still_replaced_and_http10_closes(rig):
    rig.provider.answers("/x", f"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nkey={KEY}".encode())

    async def close_after(_seen, _reader, writer):
        writer.write(f"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nkey={KEY}".encode())
        await writer.drain()
        writer.close()

    rig.provider.on("/x", close_after)
    reader, writer = await rig.tls()
    writer.write(f"GET /x HTTP/1.0\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode())
    answer = await read_answer(reader)
    assert answer.body == b"key=" + rig.stand_in().encode()
    assert answer.ended == "closed"
    writer.close()
