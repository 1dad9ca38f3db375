"""A program that is killed again and again while it asks, votes and uses; says what is wrong afterwards, if anything.

Usage: python crasher.py FOLDER POINTS SEED
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from proxy.approval.grants import Terms
from proxy.approval.statement import Wish
from proxy.approval_settings import ApprovalSettings
from proxy.db.engine import open_database
from tests.approval.hands import Hands
from tests.approval.requests import AGENT, HEAD, asked
from tests.approval.voting import Desk, ballot

SETTINGS = ApprovalSettings(hold_s=0.0)


def child(folder: Path, point: int) -> None:
    """Ask, vote and use for ever; each intent is in the log before it, each success after it."""
    log = os.open(folder / f"{point}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    desk = Desk(open_database(folder / "briefcased.db"), Hands(), SETTINGS)

    def say(*what: object) -> None:
        os.write(log, json.dumps(what).encode() + b"\n")

    async def work() -> None:
        number = 0
        while True:
            number += 1
            agent = replace(AGENT, name=f"a{point}-{number}")
            one = asked(agent=agent, head=replace(HEAD, path=f"/{point}/{number}"))
            say("asking", number)
            id_ = await desk.required(one)
            say("asked", id_)
            kind = number % 4
            if kind == 3:
                continue  # nobody decides
            say("voting", id_, kind != 0)
            wish = Wish(Terms(60, 1, 10**6), one.head.path) if kind == 2 else None
            await desk.approvers.decide(id_, ballot(yes=kind != 0, grant=wish))
            say("voted", id_, kind != 0)
            if kind != 0:
                say("using", id_)
                assert await desk.says(one) == "apr"
                say("used", id_)

    asyncio.run(work())


def wrong(folder: Path, point: int) -> list[str]:
    """What the database says that the log does not allow."""
    lines = [json.loads(line) for line in (folder / f"{point}.log").read_text().splitlines()]
    said: dict[str, set[str]] = {}
    for what, id_, *more in lines:
        said.setdefault(str(id_), set()).add(what + ("" if not more else "+" if more[0] else "-"))
    engine = open_database(folder / "briefcased.db")
    desk = Desk(engine, Hands(), SETTINGS)
    found = []
    agents = f"a{point}-"
    for one in desk.store.listed(tenant=None, state=None, limit=1000):
        if not one.agent.startswith(agents):
            continue
        log = said.pop(one.id, set())
        allowed = {
            "approved": "voting+" in log and "used" not in log,
            "rejected": "voting-" in log,
            "consumed": "using" in log,
            "pending": not log & {"voted+", "voted-"},
        }
        if not allowed.get(one.state.value, False):
            found.append(f"{one.id} is {one.state} after {sorted(log)}")
    found += [f"{id_} is lost" for id_, log in said.items() if "asked" in log]
    engine.dispose()
    return found


def main(folder: Path, points: int, seed: int) -> int:
    draw, reached = random.Random(seed), 0
    open_database(folder / "briefcased.db").dispose()
    for point in range(points):
        pid = os.fork()
        if pid == 0:
            try:
                child(folder, point)
            finally:
                os._exit(3)
        file = folder / f"{point}.log"
        steps = draw.randint(1, 24)
        while not file.exists() or file.read_bytes().count(b"\n") < steps:
            time.sleep(0.0005)
        time.sleep(draw.uniform(0, 0.004))  # a step takes about that long
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            print(f"point {point}: the child ended by itself with {os.WEXITSTATUS(status)}")
            return 1
        for problem in wrong(folder, point):
            print(f"point {point}: {problem}")
            return 1
        reached += file.read_text().count("\n")
    print(f"{points} kills, {reached} steps, nothing lost, nothing silently approved")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
