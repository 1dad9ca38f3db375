"""The refresher when something goes wrong between the provider and the disk."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from proxy.credentials import runner
from proxy.errors import Refused
from tests.fakes.token_server import dumps, raw


async def test_x16_what_cannot_be_stored_is_not_used_and_not_lost(refreshing, server, caplog):
    rig = refreshing()
    await rig.token()
    rig.clock.offset_ms += 3_600_000
    rig.grants.failures = 4
    with pytest.raises(Refused) as refused:
        await rig.token()
    assert refused.value.denial.slug == "credential_unavailable"
    assert server.families["main"].refreshes == 2
    assert await rig.token() in server.tokens
    assert (server.families["main"].refreshes, server.families["main"].revoked) == (2, False), "stored, not asked again"
    rig.clock.offset_ms += 3_600_000
    assert await rig.token() in server.tokens
    assert (server.families["main"].refreshes, server.families["main"].revoked) == (3, False)
    assert "cannot be stored" in caplog.text


async def test_a_refresh_token_that_came_with_a_token_that_must_not_be_used_is_not_lost(refreshing, server):
    rig = refreshing()
    server.token_type = "strange"
    with pytest.raises(Refused) as refused:
        await rig.token()
    assert (refused.value.denial.slug, server.families["main"].refreshes) == ("token_endpoint_error", 1)
    server.token_type = "Bearer"
    assert await rig.token() in server.tokens
    assert (server.families["main"].refreshes, server.families["main"].revoked) == (2, False)


async def test_an_answer_that_comes_late_is_not_thrown_away(refreshing, server, monkeypatch):
    """It may hold what cannot be had twice; only what has not begun is not begun any more."""
    rig = refreshing()
    monkeypatch.setattr(runner, "MINT_S", 0.2)
    server.delay_s = 0.3
    assert await rig.token() in server.tokens
    assert (server.families["main"].refreshes, server.families["main"].revoked) == (1, False)
    monkeypatch.setattr(runner, "MINT_S", -1)
    rig.clock.offset_ms += 3_600_000
    with pytest.raises(Refused) as refused:
        await rig.token()
    assert (refused.value.denial.slug, server.families["main"].refreshes) == ("token_endpoint_error", 1)


async def test_a_grant_that_somebody_replaces_while_it_is_refused_is_not_marked(refreshing, server, provider):
    rig = refreshing(grant="authorization_code")
    kept = {"refresh_token": "an-old-one", "issuer": rig.order.kind.token_endpoint}
    rig.grants.put(rig.order.key, kept)

    async def refuse(_seen, _reader, writer):
        rig.grants.put(rig.order.key, {**kept, "refresh_token": server.families["main"].current})
        provider.on("/token", server.token)
        writer.write(raw(400, {}, dumps({"error": "invalid_grant"})))

    provider.on("/token", refuse)
    assert await rig.token() in server.tokens
    assert rig.grants.read(rig.order.key).broken is None
    server.families["main"].revoked = True
    rig.clock.offset_ms += 3_600_000
    with pytest.raises(Refused) as refused:
        await rig.token()
    assert refused.value.denial.slug == "credential_revoked"
    assert rig.grants.read(rig.order.key).broken
    rig.grants.put(rig.order.key, {**kept, "refresh_token": server.login("again")})
    assert await rig.token() in server.tokens, "connected again"


async def test_an_answer_that_was_lost_leaves_the_journal(refreshing, server, provider):
    rig = refreshing(refresh={"reuse_leeway_s": 10})
    server.leeway_s = 10
    await rig.token()
    rig.clock.offset_ms += 3_600_000

    async def lose(seen, reader, writer):
        await server.token(seen, reader, type("Nowhere", (), {"write": lambda _self, _data: None})())
        writer.close()
        provider.on("/token", server.token)

    provider.on("/token", lose)
    with pytest.raises(Refused):
        await rig.token()
    journal = rig.grants.read(rig.order.key).journal
    assert journal.keys() == {"refresh_token", "at_s"}
    assert await rig.token() in server.tokens
    assert rig.grants.read(rig.order.key).journal is None
    assert (server.families["main"].refreshes, server.families["main"].revoked) == (3, False)


async def test_whoever_waits_may_go_away_and_the_token_is_stored(refreshing, server):
    rig = refreshing()
    server.delay_s = 0.1
    waiting = asyncio.ensure_future(rig.token())
    while not server.forms:
        await asyncio.sleep(0.005)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    assert await rig.token() in server.tokens
    assert server.families["main"].refreshes == 1


async def test_what_is_near_its_end_is_refreshed_while_it_serves(refreshing, server):
    rig = refreshing(refresh={"margin_s": 600, "jitter_s": 0})
    first = await rig.token()
    rig.clock.offset_ms += 3_100_000
    server.delay_s = 0.05
    assert await rig.token() == first, "nobody waits"
    async with asyncio.timeout(10):
        while server.families["main"].refreshes == 1 or rig.broker._minting:
            await asyncio.sleep(0.005)
    assert await rig.token() != first


async def test_a_journal_that_is_found_at_the_start_is_worked_off_at_once(refreshing, server):
    rig = refreshing(refresh={"reuse_leeway_s": 10})
    server.leeway_s = 10
    await rig.token()
    lease = rig.grants.lease(rig.order.key)
    rig.grants.note(lease, {"refresh_token": "x"})  # and then the process died
    server._refreshed(server.families["main"].current)  # the provider has replaced it
    await asyncio.sleep(0.5)  # the lease ends
    rig.broker._entries.clear()
    await rig.broker.resume(rig.order)
    async with asyncio.timeout(10):
        while rig.grants.read(rig.order.key).journal is not None:
            await asyncio.sleep(0.01)
    assert (server.families["main"].refreshes, server.families["main"].revoked) == (3, False)
    assert {b"at-", b"rt-"} <= {value[:3] for value in rig.broker._memory.vocabulary("one")}


@pytest.mark.parametrize(
    ("status", "body", "clear"),
    [
        (502, b"<html>", False), (200, b'{"access_token": "cut off', False),
        (500, dumps({"error": "server_error"}), False), (400, dumps({"error": "invalid_request"}), True),
    ],
)  # fmt: skip
async def test_an_answer_that_does_not_say_what_was_done_leaves_the_journal(refreshing, server, status, body, clear):
    rig = refreshing()
    first = await rig.token()
    rig.clock.offset_ms += 3_550_000  # the token serves for some seconds more
    server.script = [(status, {}, body)]
    assert await rig.token() == first
    async with asyncio.timeout(10):
        while server.script or rig.broker._minting:
            await asyncio.sleep(0.005)
    assert (rig.grants.read(rig.order.key).journal is None) == clear
    server.script = [(400, {}, dumps({"error": "invalid_request"}))]
    rig.clock.offset_ms += 60_000
    with pytest.raises(Refused):
        await rig.token()
    assert (rig.grants.read(rig.order.key).journal is None) == clear, "a later answer says nothing about that one"
    assert await rig.token() in server.tokens
    assert rig.grants.read(rig.order.key).journal is None
