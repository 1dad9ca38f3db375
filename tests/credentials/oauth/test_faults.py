"""Token endpoints that are slow, gone, busy or rude; and a stream that begins after a nonce."""

from __future__ import annotations

import asyncio
import time

import pytest
from requests_oauth2client.dpop import validate_dpop_proof

from tests.credentials.oauth.conftest import SECRET, oauth_rig
from tests.fakes.token_server import dumps, raw

FIELDS = "grant: client_credentials"
HUGE = b'{"access_token": "' + b"x" * 300_000 + b'"}'
RUDE = [
    (200, {"content-type": "text/html"}, b"<h1>IGNORE-THIS-TEXT</h1>"),
    (200, {}, HUGE),
    (200, {}, b""),
    (302, {"location": "https://evil.example/"}, b""),
    (500, {}, dumps({"error": "server_error", "error_description": "IGNORE-THIS-TEXT"})),
    (400, {}, dumps({"error": "IGNORE-THIS-TEXT" * 100})),
    (200, {}, dumps({"ok": False, "error": "IGNORE_THIS_TEXT"})),
    (200, {}, dumps({"access_token": "IGNORE-THIS-TEXT", "token_type": "mac"})),
]


async def test_p5_m10_a_rude_token_endpoint_is_refused_and_nothing_of_it_shows(tmp_path, server, caplog):
    async with oauth_rig(tmp_path, server, FIELDS) as rig:
        broker = rig.sidecar.pipeline._broker
        for rude in RUDE:
            server.script.append(rude)
            answer = await rig.call("GET", "/me")
            assert answer.problem == "token_endpoint_error", rude
            assert int(answer.headers["retry-after"]) >= 1
            assert b"IGNORE" not in answer.body
            broker._failures.clear()  # time passes
        server.script.append((429, {"retry-after": "77"}, b"IGNORE-THIS-TEXT"))
        for _ in range(3):
            answer = await rig.call("GET", "/me")
            assert (answer.problem, answer.status) == ("token_endpoint_error", 502)
            assert 70 <= int(answer.headers["retry-after"]) <= 77
        assert len(server.forms) == len(RUDE) + 1, "nobody asks before it is time (M-11)"
        broker._failures.clear()
        assert (await rig.call("GET", "/me")).status == 200
        receipts = str(await rig.settled(1))
    for text in (receipts, caplog.text):
        assert "IGNORE" not in text
        assert SECRET not in text


async def test_p5_a_token_endpoint_that_is_gone_or_never_answers(tmp_path, server, monkeypatch):
    monkeypatch.setattr("proxy.app.TOKEN_CALL_S", 0.3)
    gone = 'token_endpoint: "https://auth.example.test:9/token"'
    async with oauth_rig(tmp_path, server, FIELDS, endpoint=gone) as rig:
        assert (await rig.call("GET", "/me")).problem == "token_endpoint_error"
        assert len(rig.provider.requests) == 0
    async with oauth_rig(tmp_path / "again", server, FIELDS) as rig:
        server.delay_s = 30
        begun_s = time.monotonic()
        assert (await rig.call("GET", "/me")).problem == "token_endpoint_error"
        assert time.monotonic() - begun_s < 5


async def test_a_stream_begins_after_a_nonce_and_still_streams(tmp_path, server):
    """One silent retry; the events come one by one, and the nonce stays with us (RFC 9449, section 9)."""
    server.token_type = "DPoP"
    sent_first, go_on = asyncio.Event(), asyncio.Event()

    async def stream(seen, _reader, writer):
        proof = seen.one("dpop")
        at = {"htm": "GET", "htu": f"https://{seen.one('host')}/events", "algs": ["ES256"]}
        claims = validate_dpop_proof(proof, **at).claims
        if claims.get("nonce") != "n-1":
            headers = {"www-authenticate": 'DPoP error="use_dpop_nonce"', "dpop-nonce": "n-1"}
            writer.write(raw(401, headers, b"no"))
            return
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ndpop-nonce: n-2\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        writer.write(b"b\r\ndata: one\n\n\r\n")
        await writer.drain()
        sent_first.set()
        await go_on.wait()
        writer.write(b"b\r\ndata: two\n\n\r\n0\r\n\r\n")

    async with oauth_rig(tmp_path, server, f"{FIELDS}, sender: dpop") as rig:
        rig.provider.on("/events", stream)
        async with rig.client() as client, client.stream("GET", "/events?q=1") as answer:
            assert answer.status_code == 200
            assert "dpop-nonce" not in answer.headers
            chunks = answer.aiter_raw()
            assert await anext(chunks) == b"data: one\n\n"
            go_on.set()
            assert b"".join([chunk async for chunk in chunks]) == b"data: two\n\n"
        events = [seen for seen in rig.provider.requests if seen.path == "/events"]
        assert len(events) == 2
        assert events[0].one("authorization").startswith("DPoP at-")
        assert len({seen.one("dpop") for seen in events}) == 2
        (learnt,) = rig.sidecar.pipeline._broker._learnt._facts.values()
        assert learnt == {"dpop_nonce": "n-2"}, "the newest, also from a good answer"


@pytest.mark.parametrize("headers", [{"DPoP": "agents own proof", "Authorization": "DPoP agents-own-token"}])
async def test_d02_what_the_agent_sends_in_these_places_does_not_leave(tmp_path, server, headers):
    server.token_type = "DPoP"
    async with oauth_rig(tmp_path, server, f"{FIELDS}, sender: dpop") as rig:
        answer = await rig.call("GET", "/echo", headers=headers)
        (seen,) = [seen for seen in rig.provider.requests if seen.path == "/echo"]
        assert (len(seen.all("dpop")), len(seen.all("authorization"))) == (1, 1)
        assert "agents" not in seen.one("dpop") + seen.one("authorization")
        assert seen.one("authorization").removeprefix("DPoP ").encode() not in answer.body
