"""`briefcased up` and the commands around it: reload, agents, env, revocation, drain."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import time
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml

from proxy.db.engine import DATABASE, open_database
from proxy.identity.registry import FRESH_S
from proxy.receipts import queries
from tests.fakes.demands import demanding
from tests.rig.process import HOST
from tests.rig.program import assert_unseen
from tests.rig.sidecar import KEY

if TYPE_CHECKING:
    from tests.rig.process import Up

SLOW_S = 0.5


def agent(up: Up, token: str | None = None, *, kept: int = 0) -> httpx.AsyncClient:
    """An agent's client; with `kept` 0 every call has a connection of its own."""
    host, port = up.address
    trust = ssl.create_default_context(cafile=str(up.home / "ca-bundle.pem"))
    return httpx.AsyncClient(
        base_url=f"https://{HOST}:{up.provider.port}",
        proxy=f"http://agent:{token or up.token}@{host}:{port}",
        verify=trust,
        timeout=20,
        trust_env=False,
        limits=httpx.Limits(max_keepalive_connections=kept),
    )


async def status(up: Up, method: str = "GET", token: str | None = None) -> int:
    """The status of one call; 407 where the proxy does not know the agent."""
    async with agent(up, token) as client:
        try:
            return (await client.request(method, "/v1/things/1")).status_code
        except httpx.ProxyError as refused:
            return int(str(refused).split()[0])


def change(up: Up, **settings: object) -> None:
    data = yaml.safe_load(up.config.read_text())
    up.config.write_text(yaml.safe_dump({**data, **settings}))


def allowed(*actions: str) -> dict[str, object]:
    return {
        "example": {"accounts": {"main": {"secrets": {"api_key": "env:EXAMPLE_API_KEY"}, "actions": list(actions)}}}
    }


async def test_a_reload_puts_a_good_configuration_in_force_and_keeps_the_old_one_for_a_broken_one(up, beside):
    assert await status(up, "DELETE") == 403
    change(up, providers=allowed("read", "admin"))
    assert await status(up, "DELETE") == 403, "nothing changes before a reload"
    done = await beside.run("reload", "--config", str(up.config))
    assert (done.code, done.out) == (0, "configuration 2 is in force\n"), done.err
    assert await status(up, "DELETE") == 200

    change(up, providers={"nobody": {"accounts": {"main": {"secrets": {"key": "env:X"}}}}})
    refused = await beside.run("reload", "--config", str(up.config))
    assert refused.code == 2
    assert "providers.nobody" in refused.err
    assert await status(up, "DELETE") == 200, "the command looked before it asked"

    assert up.process is not None
    os.kill(up.process.pid, signal.SIGHUP)
    async with asyncio.timeout(15):
        while (state := json.loads((up.home / "sidecar.json").read_text()))["reloads"] < 2:
            await asyncio.sleep(0.05)
    assert "providers.nobody" in state["error"]
    assert state["generation"] == 2
    assert await status(up, "DELETE") == 200, "the sidecar kept what it had"


@pytest.mark.slow
async def test_a_reload_that_needs_a_restart_says_so(up, beside):
    change(up, limits={"max_headers": 64})
    refused = await beside.run("reload", "--config", str(up.config))
    assert refused.code == 1
    assert "needs a restart; the old configuration stays" in refused.err
    assert await status(up) == 200


@pytest.mark.slow
async def test_p1_an_agent_that_is_added_calls_and_one_that_is_revoked_does_not(up, beside):
    added = await beside.run("agents", "add", "second", "--account", "example/main", "--json")
    token = json.loads(added.out)["token"]
    async with asyncio.timeout(FRESH_S + 3):
        while await status(up, token=token) != 200:
            await asyncio.sleep(0.1)
    assert up.provider.last.all("authorization") == [f"Bearer {KEY}"]

    listed = await beside.run("agents", "list", "--json")
    assert {entry["agent"]: entry["revoked"] for entry in json.loads(listed.out)} == {"second": False, "tester": False}
    assert_unseen(listed.out, token)

    async with agent(up, token, kept=1) as connected:
        assert (await connected.get("/v1/things/1")).status_code == 200
        gone = await beside.run("agents", "revoke", "second")
        assert (gone.code, gone.out) == (0, "revoked second\n")
        revoked_s = time.monotonic()
        while await status(up, token=token) != 407:
            assert time.monotonic() - revoked_s < FRESH_S + 0.5
            await asyncio.sleep(0.05)
        before = up.provider.connections
        with contextlib.suppress(httpx.ProxyError):  # it has been cut, and a new one is refused
            assert (await connected.get("/v1/things/1")).status_code == 407, "an open connection is no way around it"
        assert up.provider.connections == before
    assert await status(up) == 200, "the other agent goes on"
    again = await beside.run("agents", "revoke", "second")
    assert again.code == 1
    database = open_database(up.home / DATABASE)
    told = [(one["change"], one.get("target"), one.get("by")) for one in queries.changes(database, limit=100)]
    database.dispose()
    assert {("agent_add", "second", "local"), ("agent_revoke", "second", "local")} <= set(told)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
async def test_p4_a_response_under_way_finishes_before_the_end(up, beside, number):
    reached = asyncio.Event()

    async def slow(_seen, _reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await writer.drain()
        reached.set()
        await asyncio.sleep(SLOW_S)
        writer.write(b"later")

    up.provider.on("/v1/later", slow)
    async with agent(up) as client, asyncio.TaskGroup() as group:
        answer = group.create_task(client.get("/v1/later"))
        await asyncio.wait_for(reached.wait(), 15)
        code = await up.kill(number)
        assert (await answer).content == b"hellolater"
    assert code == 0, (up.folder / "log").read_text()
    assert not (up.home / "sidecar.json").exists()
    verified = await beside.run("receipts", "verify")
    assert verified.out.startswith("receipts verify: ok (1 call"), verified.out
    nobody = await beside.run("reload", "--config", str(up.config))
    assert nobody.code == 1
    assert "no sidecar runs with the state directory" in nobody.err


@pytest.mark.slow
async def test_p1_env_points_a_program_at_the_running_sidecar(up, beside):
    up.provider.on("/v1/things/1", demanding("authorization", f"Bearer {KEY}"))
    config = ["--config", str(up.config)]
    told = await beside.run("env", "--agent", "tester", "--json", *config, BRIEFCASED_AGENT_TOKEN=up.token)
    variables = json.loads(told.out)
    assert variables["HTTPS_PROXY"] == f"http://agent:{up.token}@{up.state['proxy']}"
    listed = await beside.run("stand-ins", "--agent", "tester", "--json", *config)
    (row,) = json.loads(listed.out)
    assert row == {"account": "example/main", "secret": "api_key", "stand_in": variables["EXAMPLE_API_KEY"]}
    assert_unseen(told.out + listed.out, KEY)
    async with agent(up) as client:
        answer = await client.get("/v1/things/1", headers={"Authorization": f"Bearer {row['stand_in']}"})
    assert answer.status_code == 200
    assert dict(answer.json()["headers"])["authorization"] == f"Bearer {row['stand_in']}"
    unknown = await beside.run("env", "--agent", "nobody", *config)
    assert unknown.code == 1
    assert "there is no agent named nobody" in unknown.err


@pytest.mark.parametrize(("name", "code"), [("coder", 0), ("Coder", 1), ("", 1), ("a b", 1)])
async def test_names_of_agents(cli, name, code):
    added = await cli.run("agents", "add", name)
    assert added.code == code, added.err
    assert "Traceback" not in added.err
    assert bool(added.out) == (code == 0)
