"""P3 and P4 across `kill -9` while keys are created: what an agent was given serves afterwards, every call has its end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import signal
import sqlite3
import ssl

import pytest

from proxy.db.engine import DATABASE, open_database
from proxy.receipts import queries
from tests.answers.capturing import reply
from tests.rig.process import HOST, configured
from tests.rig.raw import read_answer

CAPTURE = """\
  - {id: keys.create, methods: [POST], path: /keys, action: write, capture: {secrets: {/key: api_key}}}
"""


async def call(up, trust, request: str):
    """One call on a tunnel of its own."""
    authority = f"{HOST}:{up.provider.port}"
    reader, writer = await asyncio.open_connection(*up.address)
    try:
        writer.write(f"CONNECT {authority} HTTP/1.1\r\nProxy-Authorization: Bearer {up.token}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        await writer.start_tls(trust, server_hostname=HOST)
        writer.write(f"{request}Host: {authority}\r\n\r\n".encode())
        return await read_answer(reader)
    finally:
        writer.close()


async def load(up, trust, given) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
        while True:
            answer = await call(up, trust, "POST /keys HTTP/1.1\r\nContent-Length: 0\r\n")
            given.append((json.loads(answer.body)["key"], answer.headers["briefcased-receipt"]))


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [1, 8])
async def test_p3_p4_a_key_that_was_given_is_there_after_a_crash(tmp_path, rounds):
    chance, numbers, given = random.Random(3), itertools.count(), []
    async with configured(tmp_path) as up:
        profile = up.folder / "profiles" / "example.yaml"
        profile.write_text(profile.read_text().replace("operations:\n", f"operations:\n{CAPTURE}"))

        async def make(_seen, _reader, writer):
            writer.write(reply({"key": f"sk-example-FRESH-{next(numbers):06}-abcdefgh"}))

        up.provider.on("/keys", make)
        for _ in range(rounds):
            await up.start()
            trust = ssl.create_default_context(cafile=str(up.home / "ca-bundle.pem"))
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(load(up, trust, given))
                before = len(given)
                async with asyncio.timeout(30):
                    while len(given) < before + 3:
                        await asyncio.sleep(0.01)
                await asyncio.sleep(chance.uniform(0, 0.1))
                await up.kill()
        await up.start()
        with sqlite3.connect(up.home / DATABASE) as database:
            kept = {receipt for (receipt,) in database.execute("SELECT receipt FROM captured")}
        assert given
        assert {receipt for _, receipt in given} <= kept
        for stand_in, _ in given[-3:]:
            used = await call(up, trust, f"GET /x HTTP/1.1\r\nAuthorization: Bearer {stand_in}\r\n")
            assert "-FRESH-" in up.provider.last.one("authorization")
            assert stand_in.encode() in used.body
            assert b"FRESH" not in used.body
        assert await up.kill(signal.SIGTERM) == 0
    database = open_database(up.home / DATABASE)
    calls = queries.recent(database, limit=1_000_000)
    database.dispose()
    made = [call for call in calls if call.decision["operation"] == "keys.create"]
    assert len(made) >= next(numbers)  # a call that reached the provider has its decision
    assert all(call.outcome is not None for call in made)
    assert {call.outcome["outcome"] for call in made} <= {
        "completed",
        "unknown_after_crash",
        "not_sent",
        "client_aborted",
    }
    assert kept <= {call.decision["id"] for call in made}
