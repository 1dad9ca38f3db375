"""What one failure or one rude answer leaves behind on an agent's connection."""

from __future__ import annotations

import asyncio

from tests.rig import running_rig
from tests.rig.raw import end_of, read_answer
from tests.rig.sidecar import EXAMPLE, KEY, OTHER


def get(rig, path: str = "/x") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode()


async def listen_again(provider) -> None:
    context = provider.contexts["api.example.test"]
    provider._server = await asyncio.start_server(provider._serve, "127.0.0.1", provider.port, ssl=context, limit=2**20)


async def test_a_dial_that_failed_is_tried_again(rig):
    await rig.provider.stop()
    reader, writer = await rig.tls()
    writer.write(get(rig))
    assert (await read_answer(reader)).problem == "upstream_unreachable"
    await listen_again(rig.provider)
    assert (await rig.call("GET", "/x")).status == 200  # on another connection it works
    writer.write(get(rig))
    answer = await read_answer(reader)
    writer.transport.abort()
    assert answer.status == 200
    await rig.settled(3)


async def test_p1_bytes_after_an_answer_never_become_the_next_answer(rig):
    extra = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    rig.provider.answers("/x", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + extra)
    reader, writer = await rig.tls()
    writer.write(get(rig))
    assert (await read_answer(reader)).body == b"ok"
    await asyncio.sleep(0.1)
    writer.write(get(rig, "/other"))
    answer = await read_answer(reader)
    writer.transport.abort()
    assert answer.body != b"evil"
    await rig.settled(2)


async def test_p1_a_key_in_every_part_of_an_answers_head_is_scrubbed(rig):
    raw = f"HTTP/1.1 200 {KEY}\r\nX-A: {KEY}\r\nSet-Cookie: t={KEY}\r\nLocation: https://x/?k={KEY}\r\nContent-Length: 0\r\n\r\n"
    rig.provider.answers("/x", raw.encode())
    reader, writer = await rig.tls()
    writer.write(get(rig))
    head = await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    assert KEY.encode() not in head
    await rig.settled(1)


async def test_p1_a_key_as_the_name_of_a_header_does_not_come_through(rig):
    rig.provider.answers("/x", f"HTTP/1.1 200 OK\r\n{KEY}: a\r\nContent-Length: 0\r\n\r\n".encode())
    reader, writer = await rig.tls()
    writer.write(get(rig))
    head = await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    assert KEY.lower().encode() not in head.lower()
    await rig.settled(1)


async def test_p1_what_stands_in_an_informational_answer_does_not_come_through(rig):
    raw = f"HTTP/1.1 103 Early Hints\r\nLink: <{KEY}>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    rig.provider.answers("/x", raw.encode())
    reader, writer = await rig.tls()
    writer.write(get(rig))
    seen = await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    assert KEY.encode() not in seen
    await rig.settled(1)


async def test_p1_a_malformed_answer_is_not_quoted(rig):
    rig.provider.answers("/x", f"{KEY} {KEY}\r\n\r\n".encode())
    reader, writer = await rig.tls()
    writer.write(get(rig))
    answer = await read_answer(reader)
    writer.transport.abort()
    assert answer.problem == "response_withheld"
    assert KEY.encode() not in answer.body
    await rig.settled(1)


async def test_p8_an_upgrade_with_pipelined_bytes_stays_with_the_decided_request(rig):
    reader, writer = await rig.tls()
    writer.write(get(rig) + b"GET /hidden HTTP/1.1\r\nHost: evil.example.test\r\n\r\n")
    assert (await read_answer(reader)).status == 200
    assert (await read_answer(reader)).problem == "authority_mismatch"
    writer.transport.abort()
    assert [seen.path for seen in rig.provider.requests] == ["/x"]
    await rig.settled(2)


async def test_p7_a_head_that_drips_is_reset(tmp_path):
    async with running_rig(tmp_path, settings={"limits": {"header_timeout_s": 0.5}}) as rig:
        reader, writer = await rig.tls()
        writer.write(get(rig))
        assert (await read_answer(reader)).status == 200
        writer.write(b"GET /x HTT")
        assert await end_of(reader) in ("reset", "closed")
        writer.transport.abort()


async def test_an_upload_may_take_longer_than_the_answer(tmp_path):
    slow = EXAMPLE.replace(
        "operations:\n",
        "operations:\n  - {{id: up, methods: [PUT], path: /up, action: write, limits: {{response_timeout_s: 1}}}}\n",
    )

    async def pieces():
        for _ in range(4):
            yield b"x" * 1000
            await asyncio.sleep(0.35)

    async with running_rig(tmp_path, profiles={"example": slow, "other": OTHER}) as rig:
        answer = await rig.call("PUT", "/up", content=pieces())
        assert answer.status == 200
        await rig.settled(1)


async def test_a_provider_cannot_speak_for_us_or_send_the_agent_elsewhere(rig):
    raw = (
        b'HTTP/1.1 200 OK\r\nBriefcased-Receipt: rcp_forged\r\nProxy-Status: briefcased; error=x\r\nAlt-Svc: h3=":1"\r\n'
        b"Proxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
    )
    rig.provider.answers("/x", raw)
    reader, writer = await rig.tls()
    writer.write(get(rig))
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    writer.transport.abort()
    assert head.count(b"briefcased-receipt:") == 1
    for gone in (b"rcp_forged", b"proxy-status", b"alt-svc", b"proxy-authenticate"):
        assert gone not in head
    await rig.settled(1)


async def test_an_early_answer_of_a_provider_that_closes_arrives_whole(rig):
    async def too_large(_seen, _reader, writer):
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        writer.close()

    rig.provider.read_body = False
    rig.provider.on("/x", too_large)
    reader, writer = await rig.tls()
    head = f"POST /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\nContent-Length: 1000000\r\n\r\n"
    writer.write(head.encode() + b"x" * 1000)
    answer = await read_answer(reader)
    writer.transport.abort()
    assert (answer.status, answer.body, answer.ended) == (413, b"no", "open")
    await rig.settled(1)
