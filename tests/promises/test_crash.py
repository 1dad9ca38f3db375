"""P3 and P4 across `kill -9` under load: nothing that left is missing, and every allowed call has its end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import signal
import ssl

import pytest

from proxy.db.engine import DATABASE, open_database
from proxy.receipts import queries
from tests.rig.process import HOST, configured
from tests.rig.raw import read_answer

WORKERS = 8


async def load(up, numbers, seen_receipts, trust) -> None:
    """Calls, one after the other, until the sidecar is gone."""
    authority = f"{HOST}:{up.provider.port}"
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
        reader, writer = await asyncio.open_connection(*up.address)
        writer.write(f"CONNECT {authority} HTTP/1.1\r\nProxy-Authorization: Bearer {up.token}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        await writer.start_tls(trust, server_hostname=HOST)
        while True:
            number = next(numbers)
            method = "DELETE" if number % 5 == 0 else "GET"
            writer.write(f"{method} /r/{number} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
            answer = await read_answer(reader)
            seen_receipts.append(answer.headers["briefcased-receipt"])


@pytest.mark.parametrize("rounds", [2, pytest.param(50, marks=pytest.mark.slow)])
async def test_p3_p4_nothing_is_lost_when_the_sidecar_is_killed(tmp_path, rounds):
    chance = random.Random(7)
    numbers, seen_receipts = itertools.count(1), []
    async with configured(tmp_path) as up:
        for number in range(rounds):
            await up.start()
            trust = ssl.create_default_context(cafile=str(up.home / "ca-bundle.pem"))
            async with asyncio.TaskGroup() as group:
                for _ in range(WORKERS):
                    group.create_task(load(up, numbers, seen_receipts, trust))
                await asyncio.sleep(chance.uniform(0.05, 0.6))
                async with asyncio.timeout(30):
                    # Once one agent has two answers, the first is recorded whole; a busy machine takes a while.
                    while number == 0 and len(seen_receipts) <= max(rounds, WORKERS):
                        await asyncio.sleep(0.01)
                await up.kill()
        await up.start()
        assert await up.kill(signal.SIGTERM) == 0
        verified = await asyncio.to_thread(up.command, "receipts", "verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
    database = open_database(up.home / DATABASE)
    calls = queries.recent(database, limit=1_000_000)
    database.dispose()
    by_id = {call.decision["id"]: call for call in calls}
    assert len(seen_receipts) > rounds
    assert set(seen_receipts) <= by_id.keys()
    allowed = {call.decision["path"] for call in calls if call.decision["decision"] == "allow"}
    assert {seen.path for seen in up.provider.requests} <= allowed
    ends = [call.outcome["outcome"] for call in calls if call.decision["decision"] == "allow"]
    assert set(ends) <= {"completed", "unknown_after_crash", "client_aborted", "upstream_aborted", "not_sent"}
    assert "completed" in ends
