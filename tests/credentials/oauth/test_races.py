"""M-04, M-05: one refresh at a time among all processes, and a process that is killed loses nothing."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from tests.credentials.oauth.conftest import SECRET
from tests.credentials.oauth.minting import Process, Setup
from tests.rig.postgres import found, postgres


def setup(folder, provider, server, **fields):
    provider.on("/token", server.token)
    endpoint = f"https://auth.example.test:{provider.port}/token"
    data = {"grant": "refresh_token", "token_endpoint": endpoint, **fields}
    environment = {"client_secret": SECRET, "refresh_token": server.login()}
    return Setup(str(folder), str(provider.root), data, environment, lease_s=1.0)


async def refresh_together(folder, provider, server, *, processes, callers, expiries, shared=None):
    """At each expiry all callers in all processes want a token at once; the server detects any reuse."""
    given = replace(setup(folder, provider, server), shared=shared)
    running = [Process(given) for _ in range(processes)]
    try:
        for number in range(expiries):
            asked = [one.ask("mint", callers, number * server.lifetime_s) for one in running]
            tokens = [token for answers in await asyncio.gather(*asked) for token in answers]
            assert len(tokens) == processes * callers
            assert set(tokens) <= server.tokens.keys(), "every caller got a token"
            assert len(set(tokens)) == 1
            assert (server.families["main"].refreshes, server.families["main"].revoked) == (number + 1, False)
    finally:
        for one in running:
            one.kill()


async def test_m04_at_an_expiry_there_is_exactly_one_refresh(tmp_path, provider, server):
    server.delay_s = 0.02
    await refresh_together(tmp_path, provider, server, processes=2, callers=25, expiries=4)


@pytest.mark.slow
async def test_m04_200_callers_in_4_processes_and_100_expiries(tmp_path, provider, server):
    server.delay_s = 0.01
    await refresh_together(tmp_path, provider, server, processes=4, callers=50, expiries=100)


@pytest.mark.slow
@pytest.mark.skipif(found("initdb") is None, reason="no PostgreSQL here")
async def test_m04_replicas_that_share_postgresql_refresh_once_too(tmp_path, provider, server):
    server.delay_s = 0.02
    with postgres() as database:
        shared = database.settings()
        await refresh_together(tmp_path, provider, server, processes=3, callers=25, expiries=20, shared=shared)


async def kill(folder, provider, server, *, times):
    """Kill whoever refreshes, at any moment; the next process must get a token with what is stored."""
    given = setup(folder, provider, server, refresh={"reuse_leeway_s": 10})
    moments = random.Random(7)
    for _ in range(times):
        process = Process(given)
        first = await process.ask("loop")
        assert first in server.tokens, first
        await asyncio.sleep(moments.uniform(0, 0.08))
        process.kill()
        assert not server.families["main"].revoked
        assert set(process.rest()) <= server.tokens.keys()
    last = Process(given)
    assert await last.ask("loop") in server.tokens
    last.kill()
    return server.families["main"].refreshes


@pytest.mark.slow
async def test_m05_kill_9_loses_no_account_where_the_server_has_a_leeway(tmp_path, provider, server):
    server.leeway_s, server.delay_s = 10, 0.01
    await kill(tmp_path, provider, server, times=4)


@pytest.mark.slow
async def test_m05_100_times_kill_9(tmp_path, provider, server):
    server.leeway_s, server.delay_s = 10, 0.01
    await kill(tmp_path, provider, server, times=100)
    token_requests = [form["refresh_token"][0] for form in server.forms if "refresh_token" in form]
    assert len(token_requests) > len(set(token_requests)), "some were cut off between rotation and storage"
