"""A held reply in the engine: HTTP/2 on both legs, trailers, a reset, a reply that never ends, a retried call."""

from __future__ import annotations

import asyncio
import json

import pytest

from certs.authority import CertificateAuthority
from proxy.clock import SystemClock
from tests.answers.capturing import reply
from tests.answers.test_logins import CODER, OTHER_PROFILE, RIG, Issuer, log_in, url
from tests.fakes.h2_server import H2Provider
from tests.rig import Provider, running_rig
from tests.rig.provider import server_context
from tests.rig.sidecar import EXAMPLE, OTHER

HOST = "api.example.test"
FRESH = "sk-example-FRESH-0123456789abcdef"
CAPTURE = """\
  - {{id: keys.create, methods: [POST], path: /keys, action: write, capture: {{secrets: {{/headers/x-fresh: api_key}}}}}}
  - {{id: keys.slow, methods: [POST], path: /slow-keys, action: write, limits: {{response_timeout_s: 1}}, capture: {{secrets: {{/key: api_key}}}}}}
"""
PROFILES = {"example": EXAMPLE.replace("operations:\n", f"operations:\n{CAPTURE}"), "other": OTHER}


async def test_p1_a_capture_over_http2_on_both_legs(tmp_path):
    authority = CertificateAuthority.ephemeral(patterns=[HOST], clock=SystemClock())
    upstream = H2Provider(server_context(authority, HOST, tmp_path))
    await upstream.start()
    upstream.trailers = [("x-fresh", FRESH)]
    root = tmp_path / "h2-root.pem"
    root.write_bytes(authority.bundle_pem())
    provider = Provider(tmp_path, (HOST,), port=upstream.port, root=root)
    try:
        async with running_rig(tmp_path, provider=provider, profiles=PROFILES) as rig, rig.client(http2=True) as client:
            made = [await client.post("/keys", headers={"x-fresh": f"{FRESH}-{at}"}) for at in range(3)]
            given = [answer.json()["headers"]["x-fresh"] for answer in made]
            assert len(set(given)) == 3
            assert not any(FRESH in answer.text + str(answer.headers.raw) for answer in made)
            for at, stand_in in enumerate(given):
                await client.get("/x", headers={"Authorization": f"Bearer {stand_in}"})
                assert upstream.requests[-1][1]["authorization"] == f"Bearer {FRESH}-{at}"
            upstream.break_off = True
            broken = await client.post("/keys", headers={"x-fresh": f"{FRESH}-9"})
            assert broken.status_code == 502
            upstream.break_off = False
            assert (await client.get("/x")).status_code == 200
            assert upstream.connections == 1
    finally:
        await upstream.stop()


async def test_p7_a_reply_that_never_ends_is_given_up(tmp_path):
    async def begin(_seen, reader, writer):
        writer.write(
            b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"key":"' + FRESH.encode()
        )
        await writer.drain()
        await reader.read()

    async with running_rig(tmp_path, profiles=PROFILES) as rig:
        rig.provider.on("/slow-keys", begin)
        answer = await rig.call("POST", "/slow-keys")
        assert answer.problem == "upstream_timeout"
        assert FRESH.encode() not in answer.body
        (call,) = await rig.settled(1)
        assert call.outcome["error"] == "upstream_timeout"


@pytest.mark.parametrize("http2", [pytest.param(False, marks=pytest.mark.slow), True])
async def test_a_call_that_is_sent_again_after_a_challenge_is_captured(tmp_path, http2):
    operation = (
        "  - {{id: keys.create, methods: [POST], path: /keys, hosts: [api.coder.test], action: write,"
        " credentials: [login], capture: {{secrets: {{/key: api_key}}}}}}\n"
    )
    coder = CODER.replace("operations:\n", f"operations:\n{operation}").replace(
        "credentials:\n", "  api_key: {{}}\ncredentials:\n  key: {{kind: header, header: X-Key, secret: api_key}}\n", 1
    )
    issuer, tries = Issuer(), []

    async def make(seen, _reader, writer):
        tries.append(seen.one("authorization"))
        if len(tries) == 1:
            challenge = 'WWW-Authenticate: Bearer error="invalid_token"\r\n'
            writer.write(reply({}, status="401 Unauthorized", extra=challenge))
        else:
            writer.write(reply({"key": FRESH}, coding="gzip"))

    async with running_rig(tmp_path, **{**RIG, "profiles": {"coder": coder, "other": OTHER_PROFILE}}) as rig:
        rig.provider.handlers["/oauth/token"] = issuer
        await log_in(rig)
        rig.provider.handlers["/keys"] = make
        async with rig.client(http2=http2) as client:
            body = json.dumps({}).encode()
            answer = await client.post(url(rig, "api.coder.test", "/keys"), content=body)
            stand_in = answer.json()["key"]
            assert stand_in != FRESH
            assert len(set(tries)) == 2  # the second time with a token that was minted anew
            assert (await client.post(url(rig, "api.coder.test", "/keys"), content=body)).status_code == 200
            async with asyncio.timeout(5):
                used = await client.get(url(rig, "api.coder.test", "/v1/x"), headers={"X-Key": stand_in})
        assert used.status_code == 200
        assert rig.provider.last.one("x-key") == FRESH
