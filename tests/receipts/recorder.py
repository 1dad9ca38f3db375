"""Records decisions and outcomes as fast as it can until it is killed; prints the id of each durable decision."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from proxy.clock import SystemClock
from proxy.db.engine import open_database
from proxy.receipts.log import ReceiptLog

AGENTS = 16


async def one_agent(log):
    while True:
        for decision in ("allow", "allow", "deny"):
            fields = {"id": log.new_id(), "decision": decision, "agent": "builder"}
            await log.record_decision(fields)
            os.write(1, f"{fields['id']} {decision}\n".encode())
            if decision == "allow":
                log.record_outcome({"of": fields["id"], "outcome": "completed"})


async def main(home, resume):
    log = ReceiptLog.open(
        database=open_database(home / "briefcased.db"), home=home, label="crash", clock=SystemClock(), resume=resume
    )
    async with asyncio.TaskGroup() as group:
        for _ in range(AGENTS):
            group.create_task(one_agent(log))


asyncio.run(main(Path(sys.argv[1]), sys.argv[2] == "resume"))
