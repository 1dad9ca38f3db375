"""K-09, K-10, K-12: who and what is counted: accounts behind many agents, attempts, messages, compressed bodies."""

from __future__ import annotations

import contextlib
import gzip
import os
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select
from websockets.exceptions import ConnectionClosed

from proxy.db.engine import DATABASE, open_database
from proxy.db.tables import budget_counters
from proxy.identity.task_limits import TaskLimits
from proxy.identity.task_tokens import narrowed
from tests.control.tenancy import RED, task_token, tenancy
from tests.fakes.digest_server import DigestServer
from tests.metering.conftest import metered
from tests.rig.kinds import running_kind
from tests.websocket.conftest import joined, sockets  # noqa: F401  # a fixture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig import Rig

REQUESTS = {"name": "calls", "unit": "requests", "limit": 3}
NOISE = gzip.compress(os.urandom(20_000))
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


@pytest.mark.parametrize("sessions", [12, pytest.param(1000, marks=pytest.mark.slow)])
async def test_k_09_new_sessions_of_many_agents_and_users_share_what_their_tenant_has(
    tmp_path: Path, sessions: int
) -> None:
    """K-09: each session has a token of its own, which its holder narrowed by itself, and a connection of its own."""
    limits = [
        {**REQUESTS, "name": "tenant", "limit": 8, "each": ["tenant"]},
        {**REQUESTS, "name": "account", "limit": 5, "match": {"account": "example/red"}},
        {**REQUESTS, "name": "task", "limit": 1, "each": ["task"]},
    ]
    async with tenancy(tmp_path, budgets=limits) as rig:
        statuses = []
        for number in range(sessions):
            agent, user = (("coder", "alice"), ("helper", None), ("coder", None))[number % 3]
            text = task_token(rig, agent, user=user, task=f"t{number}")
            rig.tokens["session"] = narrowed(text, TaskLimits(paths=(f"/{number}",)))
            statuses.append((await rig.call("GET", f"/{number}", agent="session")).status)
        assert statuses.count(200) == len(rig.provider.requests) == 8
        assert set(statuses) == {200, 429}
        keys = [seen.one("authorization") for seen in rig.provider.requests]
        assert keys.count(f"Bearer {RED}") == 5
        assert (await rig.call("GET", "/x", agent="rival")).status == 200  # of another tenant


async def test_k_12_each_attempt_that_reaches_the_provider_counts_once(tmp_path: Path) -> None:
    secrets = {"user": "user-0123456789", "password": "secret-0123456789"}
    kind = {"kind": "digest", "username": "{user}", "password": "{password}"}
    """K-12: also the one that a challenge causes within the same call."""
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


async def test_k_12_a_second_attempt_for_which_a_person_would_be_asked_is_not_made(tmp_path: Path) -> None:
    secrets = {"user": "user-0123456789", "password": "secret-0123456789"}
    kind = {"kind": "digest", "username": "{user}", "password": "{password}"}
    budget = {**REQUESTS, "limit": 1, "over": "approval"}
    async with running_kind(tmp_path, kind, secrets, settings={"budgets": [budget], "approvals": {"hold_s": 0}}) as rig:
        rig.provider.on("/x", DigestServer(secrets["user"], secrets["password"]))
        assert (await rig.call("GET", "/x")).status == 401
        assert len(rig.provider.requests) == 1
        assert used((await rig.settled(1))[0].outcome) == "requests=1"
        assert (await rig.call("GET", "/x")).problem == "approval_required"


async def test_k_10_what_a_small_body_unpacks_to_is_counted(tmp_path: Path) -> None:
    body = gzip.compress(bytes(1_000_000))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    async with metered(tmp_path, BYTES) as rig:
        rig.provider.answers("/packed", head.encode() + body)
        assert len((await rig.call("GET", "/packed")).body) == 1_000_000
        assert used((await rig.settled(1))[0].outcome) == "bytes=1000000"


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (b"Trailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-T: " + b"y" * 900 + b"\r\n\r\n", 1),  # not passed on
        (b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(NOISE), NOISE), len(NOISE)),  # grows
    ],
    ids=["trailers", "incompressible"],
)  # fmt: skip
async def test_k_10_whichever_is_more_counts_of_what_came_and_what_it_holds(
    tmp_path: Path, answer: bytes, wanted: int
) -> None:
    """K-10: with a compressed body on the way there, which counts as it is sent."""
    sent = gzip.compress(bytes(50_000))
    async with metered(tmp_path, BYTES) as rig:
        rig.provider.answers("/x", b"HTTP/1.1 200 OK\r\n" + answer)
        await rig.call("POST", "/x", content=sent, headers={"Content-Encoding": "gzip"})
        assert used((await rig.settled(1))[0].outcome) == f"bytes={wanted + len(sent)}"


@pytest.mark.slow
@pytest.mark.parametrize("up", [True, False])
async def test_k_10_messages_count_unpacked_in_either_direction(sockets: Any, up: bool) -> None:  # noqa: F811
    """K-10: what `permessage-deflate` makes a few bytes of counts whole, and ends the socket at the reserve."""

    async def talk(socket: Any) -> None:
        if up:
            async for _ in socket:
                pass
        with contextlib.suppress(ConnectionClosed):
            for _ in range(1 if up else 12):
                await socket.send("x" * 3_000_000)
            await socket.wait_closed()

    async with sockets(talk, settings={"budgets": [{**BYTES, "limit": 90_000_000}]}) as rig:
        with pytest.raises(ConnectionClosed):
            async with joined(rig) as socket:
                for _ in range(12):
                    await (socket.send("x" * 3_000_000) if up else socket.recv())
                await socket.wait_closed()
                await socket.recv()
        (call,) = await rig.settled(1)
        assert used(call.outcome) == f"bytes={32 * 1024 * 1024}"
        assert _total(rig) == 32 * 1024 * 1024


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
