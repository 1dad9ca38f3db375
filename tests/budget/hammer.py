"""One process that asks for much more than there is; it may be killed at any point.

    python -m tests.budget.hammer DATABASE OWNER REQUESTS SENT

Every request that may leave adds one byte to the file SENT, as a provider would see it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import orjson

from proxy.budget.limits import Subject, planned
from proxy.budget.service import Budgets
from proxy.budget_settings import Budget
from proxy.clock import SystemClock
from proxy.db.engine import open_database
from proxy.errors import Refused

LIMIT = 700
BUDGET = {"name": "b", "unit": "requests", "limit": LIMIT, "window": "lifetime"}
CALL = Subject("acme", "coder", "github/work", "github", "github", "github:issues.create", "write")
NOT_ALLOWED = ("budget_exceeded", "budget_unavailable")


async def hammer(database: Path, owner: str, requests: int, sent: int) -> None:
    budgets = Budgets(open_database(database), owner=owner, clock=SystemClock())
    plan = planned([Budget.model_validate_json(orjson.dumps(BUDGET))], [], CALL, {}, now_ms=0)

    async def call(number: int) -> None:
        await asyncio.sleep(number / 2000)
        try:
            await budgets.reserve(f"{owner}-{number}", plan)
        except Refused as refused:
            if refused.denial.slug not in NOT_ALLOWED:
                raise
            return
        os.write(sent, b"x")
        await asyncio.sleep(0.05)
        budgets.settle(f"{owner}-{number}", {})

    await asyncio.gather(*map(call, range(requests)))
    await budgets.close()


if __name__ == "__main__":
    path, name, count, file = sys.argv[1:]
    asyncio.run(hammer(Path(path), name, int(count), os.open(file, os.O_WRONLY | os.O_APPEND)))
