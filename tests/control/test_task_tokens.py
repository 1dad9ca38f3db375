"""Tokens for one task, through the real proxy (H-01, H-05, H-08)."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import httpx
import pytest
import pytest_asyncio

from proxy.clock import SystemClock
from proxy.db.engine import DATABASE, open_database
from proxy.identity import locks, task_tokens
from proxy.identity.task_limits import TaskLimits
from proxy.identity.tasks import revocable
from tests.control.tenancy import GOLD, RED, connect_head, task_token, tenancy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with tenancy(tmp_path_factory.mktemp("tasks")) as rig:
        yield rig


def hold(rig: Rig, text: str) -> str:
    rig.tokens["task"] = text
    return "task"


async def test_a_task_token_is_its_agent_within_its_limits(rig: Rig) -> None:
    agent = hold(rig, task_token(rig, accounts=["example/red"], operations=["read"], paths=["/a/"]))
    assert (await rig.call("GET", "/a/b", agent=agent)).status == 200
    assert rig.provider.last.one("authorization") == f"Bearer {RED}"  # the only one that the token covers
    before = len(rig.provider.requests)
    for method, path in (("POST", "/a/b"), ("GET", "/b"), ("DELETE", "/a/b")):
        answer = await rig.call(method, path, agent=agent)
        assert (answer.status, answer.problem) == (403, "policy_denied"), (method, path)
    url = f"https://other.example.test:{rig.provider.port}/a/x"
    assert (await rig.call("GET", url, agent=agent)).problem == "policy_denied"
    gold = {"Authorization": f"Bearer {rig.stand_in(account='gold', agent='coder')}"}
    assert (await rig.call("GET", "/a/b", agent=agent, headers=gold)).problem == "policy_denied"
    assert len(rig.provider.requests) == before
    last = (await rig.settled(1))[-1].decision
    assert (last["agent"], str(last["token_id"])[:5]) == ("coder", "task_")


async def test_p5_an_added_block_narrows_and_never_widens(rig: Rig) -> None:
    text = task_token(rig, accounts=["example/red"])
    wider = task_tokens.narrowed(text, TaskLimits(accounts=("example/red", "example/gold")))
    assert (await rig.call("GET", "/x", agent=hold(rig, wider))).status == 200
    assert rig.provider.last.one("authorization") == f"Bearer {RED}"
    nothing = task_tokens.narrowed(text, TaskLimits(accounts=("example/gold",)))
    assert (await rig.call("GET", "/x", agent=hold(rig, nothing))).problem == "policy_denied"


@pytest.mark.parametrize("kind", ["garbage", "wrong key", "expired", "cut", "peer", "revoked agent's name"])
async def test_h_01_a_token_that_does_not_hold_is_refused(rig: Rig, kind: str) -> None:
    text = task_token(rig)
    end = TaskLimits(until_ms=int(time.time() + 60) * 1000)
    asked = {
        "garbage": "bct_" + "A" * 43 + "_" + "A" * 200,
        "wrong key": task_tokens.mint(b"\x07" * 32, "coder", end),
        "expired": task_token(rig, ttl_s=-1),
        "cut": text[:-12],
        "peer": task_token(rig, peers=["ip:192.0.2.1", "uid:12345"]),  # H-05
        "revoked agent's name": task_token(rig, "nobody"),
    }
    hold(rig, asked[kind])
    assert (await connect_head(rig, "task")).startswith(b"HTTP/1.1 407 ")


async def test_h_05_a_token_for_a_peer_works_from_there(rig: Rig) -> None:
    agent = hold(rig, task_token(rig, peers=["ip:127.0.0.1"]))
    assert (await rig.call("GET", "/x", agent=agent)).status == 200
    plain = f"http://api.example.test:{rig.provider.port}/x"  # each head is judged on its own
    assert (await rig.call("GET", plain, agent=agent)).problem == "operation_not_allowed"


async def status_of(client: httpx.AsyncClient) -> int:
    """Of a call, or of the CONNECT for it where the connection was closed meanwhile."""
    try:
        return (await client.get("/x")).status_code
    except httpx.ProxyError as error:
        return int(str(error)[:3])


async def test_h_08_a_revoked_token_stops_with_all_that_was_narrowed_from_it(rig: Rig) -> None:
    text, other = task_token(rig, methods=["GET"]), task_token(rig, methods=["GET", "HEAD"])
    below = task_tokens.narrowed(text, TaskLimits(paths=("/x",)))
    async with rig.client(hold(rig, below)) as client:
        assert (await client.get("/x")).status_code == 200
        database = open_database(rig.home / DATABASE)
        key = (locks.TOKEN, revocable(text))
        locks.lock(database, [key], reason="test", by="test", clock=SystemClock())
        database.dispose()
        await asyncio.sleep(1.0)  # what is promised
        assert await status_of(client) == 407
    assert (await rig.call("GET", "/x", agent=hold(rig, other))).status == 200


async def test_a_token_that_ends_while_its_connection_is_open_stops(rig: Rig) -> None:
    until_s = int(time.time() + 3)
    text = task_tokens.narrowed(task_token(rig), TaskLimits(until_ms=until_s * 1000))
    reader, writer = await rig.tls(agent=hold(rig, text))
    await asyncio.sleep(until_s + 0.1 - time.time())
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        writer.write(f"GET /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 407 ")
        raise ConnectionError
    writer.transport.abort()


async def test_curl_takes_a_narrowed_token_from_https_proxy(rig: Rig) -> None:
    text = task_token(rig, accounts=["example/red"], operations=["read"], user="alice", peers=["ip:127.0.0.1"])
    for path in ("/a", "/a/b", "/a/b/c"):
        text = task_tokens.narrowed(text, TaskLimits(paths=(path,), methods=("GET", "HEAD")))
    assert len(text) > 1400
    env = {"PATH": os.environ["PATH"], **rig.env(hold(rig, text))}
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"{rig.base}/a/b/c", env=env, stdout=-1, stderr=-1
    )
    out, err = await process.communicate()
    assert (out, err) == (b"200", b"")


async def test_p1_a_task_token_never_reaches_the_provider_or_the_receipts(rig: Rig) -> None:
    text = task_token(rig)
    assert (await rig.call("GET", "/x", agent=hold(rig, text))).status == 200
    assert text not in rig.provider.last.head.decode()
    assert text[60:120] not in (rig.home / DATABASE).read_bytes().decode("latin-1")
    assert rig.provider.last.one("authorization") == f"Bearer {GOLD}"
