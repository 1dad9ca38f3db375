"""Who and what is counted: accounts behind many agents, attempts, messages, compressed bodies."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select
from websockets.exceptions import ConnectionClosed

from proxy.db.engine import DATABASE, open_database
from proxy.db.tables import budget_counters
from tests.fakes.digest_server import DigestServer
from tests.metering.conftest import metered
from tests.rig.kinds import running_kind
from tests.websocket.conftest import joined, sockets  # noqa: F401  # a fixture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig import Rig

REQUESTS = {"name": "calls", "unit": "requests", "limit": 3}
BYTES = {"name": "bytes", "unit": "bytes", "limit": 20_000_000}


def used(outcome: dict[str, Any] | None) -> str:
    assert outcome is not None
    return str(outcome["used"])


async def test_k_09_another_agent_or_token_does_not_escape(tmp_path: Path) -> None:
    agents = {f"agent-{number}": ("*",) for number in range(6)}
    limits = [{**REQUESTS, "each": ["account"]}, {**REQUESTS, "name": "own", "limit": 1, "each": ["agent"]}]
    async with metered(tmp_path, *limits, agents=agents) as rig:
        answers = [await rig.call("GET", "/x", agent=name) for name in agents for _ in range(2)]
        assert [answer.status for answer in answers] == [200, 429] * 3 + [429, 429] * 3
        assert len(rig.provider.requests) == 3


async def test_k_12_each_attempt_that_reaches_the_provider_counts_once(tmp_path: Path) -> None:
    secrets = {"user": "user-0123456789", "password": "secret-0123456789"}
    kind = {"kind": "digest", "username": "{user}", "password": "{password}"}
    async with running_kind(tmp_path, kind, secrets, settings={"budgets": [{**REQUESTS, "limit": 4}]}) as rig:
        server = DigestServer(secrets["user"], secrets["password"])
        rig.provider.on("/x", server)
        assert (await rig.call("GET", "/x")).status == 200
        assert len(rig.provider.requests) == 2
        assert used((await rig.settled(1))[0].outcome) == "requests=2"
        assert (await rig.call("GET", "/x")).status == 200
        server.nonce = "stale-now"  # the call is allowed, its second attempt is not
        assert (await rig.call("GET", "/x")).status == 401
        assert len(rig.provider.requests) == 4
        assert (await rig.call("GET", "/x")).problem == "budget_exceeded"


async def test_k_10_what_a_small_body_unpacks_to_is_counted(tmp_path: Path) -> None:
    body = gzip.compress(bytes(1_000_000))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    async with metered(tmp_path, BYTES) as rig:
        rig.provider.answers("/packed", head.encode() + body)
        assert len((await rig.call("GET", "/packed")).body) == 1_000_000
        assert used((await rig.settled(1))[0].outcome) == "bytes=1000000"


async def test_k_10_messages_are_counted_and_end_where_the_reserve_does(sockets: Any) -> None:  # noqa: F811
    async def echo(socket: Any) -> None:
        async for message in socket:
            await socket.send(message)

    async with sockets(echo, settings={"budgets": [{**BYTES, "limit": 90_000_000}]}) as rig:
        async with joined(rig) as socket:
            await socket.send("x" * 1000)
            await socket.recv()
        assert used((await rig.settled(1))[0].outcome) == "bytes=2000"
        with pytest.raises(ConnectionClosed):
            async with joined(rig) as socket:
                for _ in range(8):
                    await socket.send(bytes(3_000_000))
                    await socket.recv()
        assert _total(rig) <= 2000 + 32 * 1024 * 1024


def _total(rig: Rig) -> int:
    database = open_database(rig.home / DATABASE)
    with database.connect() as connection:
        total = connection.execute(select(func.sum(budget_counters.c.used + budget_counters.c.held))).scalar_one()
    database.dispose()
    return int(total)
