"""P10 and K-07: what a sidecar that was killed under load held counts; and K-03: three sidecars, one database."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from proxy.db.engine import DATABASE
from tests.metering.conftest import metered
from tests.rig.postgres import PASSWORD, postgres
from tests.rig.process import HOST, configured

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.process import Up

LIMIT = 120


async def call(up: Up, trust: ssl.SSLContext) -> int:
    """The status of one call on a connection of its own."""
    reader, writer = await asyncio.open_connection(*up.address)
    try:
        authority = f"{HOST}:{up.provider.port}"
        credentials = f"Proxy-Authorization: Bearer {up.token}\r\n"
        writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{credentials}\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        await writer.start_tls(trust, server_hostname=HOST)
        writer.write(f"GET /x HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode())
        return int((await reader.readuntil(b"\r\n\r\n")).split()[1])
    finally:
        writer.close()


async def load(up: Up, trust: ssl.SSLContext, statuses: list[int]) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
        while True:
            statuses.append(await call(up, trust))


def sums(up: Up) -> tuple[int, int]:
    with sqlite3.connect(up.home / DATABASE) as database:
        used, held = database.execute("SELECT sum(used), sum(held) FROM budget_counters").fetchone()
    return int(used or 0), int(held or 0)


@pytest.mark.slow
async def test_k_07_p10_a_killed_sidecar_leaves_nothing_uncounted_and_nothing_held(tmp_path: Path) -> None:
    async with configured(tmp_path) as up:
        settings = yaml.safe_load(up.config.read_text())
        settings["budgets"] = [{"name": "calls", "unit": "requests", "limit": LIMIT, "window": "lifetime"}]
        up.config.write_text(yaml.safe_dump(settings))
        statuses: list[int] = []
        for _ in range(3):
            await up.start()
            trust = ssl.create_default_context(cafile=str(up.home / "ca-bundle.pem"))
            before = len(up.provider.requests)
            async with asyncio.TaskGroup() as group:
                for _ in range(6):
                    group.create_task(load(up, trust, statuses))
                async with asyncio.timeout(30):
                    while len(up.provider.requests) < before + 20:
                        await asyncio.sleep(0.005)
                await up.kill()
            used, held = sums(up)
            assert len(up.provider.requests) <= used + held <= LIMIT
        await up.start()  # the dead one's holds are settled at once
        async with asyncio.timeout(20):
            while sums(up)[1]:
                await asyncio.sleep(0.05)
        used, _ = sums(up)
        assert len(up.provider.requests) <= used <= LIMIT
        for _ in range(LIMIT - used):
            assert await call(up, trust) == 200
        assert await call(up, trust) == 429
        assert len(up.provider.requests) <= LIMIT
        shown = await asyncio.to_thread(up.command, "budgets", "list", "--config", str(up.config))
        assert shown.stdout == f"calls: {LIMIT} requests used, 0 requests held, 0 requests left of {LIMIT} requests\n"


@pytest.mark.slow
async def test_k_03_k_01_three_sidecars_with_one_database_share_a_budget(tmp_path: Path) -> None:
    with postgres() as server:
        shared = {"host": "localhost", "port": server.port, "ca_bundle": str(server.ca), "password": "env:PG"}
        state = {"shared": shared, "seal_key": "env:SEAL"}
        environment = {"PG": PASSWORD, "SEAL": "00" * 32}
        budget: dict[str, Any] = {"name": "calls", "unit": "requests", "limit": 25, "window": "lifetime"}
        for name in ("one", "two", "three"):
            (tmp_path / name).mkdir()
        async with (
            metered(tmp_path / "one", budget, state=state, environment=environment) as one,
            metered(tmp_path / "two", budget, state=state, environment=environment, provider=one.provider) as two,
            metered(tmp_path / "three", budget, state=state, environment=environment, provider=one.provider) as three,
            one.client() as first,
            two.client() as second,
            three.client() as third,
        ):
            clients = (first, second, third)
            answers = await asyncio.gather(*(client.get("/x") for _ in range(30) for client in clients))
            assert [answer.status_code for answer in answers].count(200) == 25
            assert {answer.status_code for answer in answers} == {200, 429}
            assert len(one.provider.requests) == 25
            assert await one.settled(1)
            assert await two.settled(1)
            assert await three.settled(1)
            server.stop()  # K-02: without it nothing is sent
            answer = await one.call("GET", "/x")
            assert answer.problem == "budget_unavailable"
            assert len(one.provider.requests) == 25
