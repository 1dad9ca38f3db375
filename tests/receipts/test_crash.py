"""kill -9 at a random moment: nothing that was acknowledged is lost, and every allowed call has one outcome (P4)."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import orjson
import pytest
from sqlalchemy import select

from proxy.db.tables import receipts
from proxy.receipts import queries

RECORDER = Path(__file__).with_name("recorder.py")
REPOSITORY = Path(__file__).parents[2]


def killed_after(home, alive_s, *, resume):
    """Runs the recorder, kills it `alive_s` after its first line; the lines it printed in full."""
    command = [sys.executable, str(RECORDER), str(home), "resume" if resume else "new"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY, env={"PYTHONPATH": str(REPOSITORY)})
    first = process.stdout.readline()
    time.sleep(alive_s)
    process.kill()
    printed = first + process.stdout.read()
    process.wait()
    assert process.returncode == -9
    return [line.split() for line in printed.decode().splitlines(keepends=True) if line.endswith("\n")]


async def crash_rounds(open_log, database, home, rounds):
    chance = random.Random(20261124)
    acknowledged = {}
    for number in range(rounds):
        acknowledged |= dict(killed_after(home, chance.uniform(0, 0.25), resume=number % 2 == 1))
    log = open_log(label="after")
    await log.close()
    with database.connect() as connection:
        bodies = [orjson.loads(body) for body in connection.execute(select(receipts.c.body)).scalars()]
    decisions = {body["id"]: body["decision"] for body in bodies if body["kind"] == "decision"}
    outcomes = Counter(body["of"] for body in bodies if body["kind"] == "outcome")
    assert acknowledged
    assert acknowledged.items() <= decisions.items()
    assert outcomes == Counter(id_ for id_, decision in decisions.items() if decision == "allow")
    assert "unknown_after_crash" in {body.get("outcome") for body in bodies}
    assert queries.verify_database(database, home).problems == ()


async def test_p4_a_crash_loses_nothing(open_log, database, tmp_path):
    await crash_rounds(open_log, database, tmp_path, 3)


@pytest.mark.slow
async def test_p4_twenty_crashes_lose_nothing(open_log, database, tmp_path):
    await crash_rounds(open_log, database, tmp_path, 20)
