"""K-06, K-12: an agent that leaves while its call is sent once more leaves nothing reserved behind."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from proxy.budget.service import _Task
from tests.fakes.digest_server import DigestServer
from tests.metering.test_aborts import reset
from tests.metering.test_budgets import sums
from tests.rig.kinds import running_kind

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.provider import Seen

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_k_06_an_agent_that_leaves_between_two_attempts_leaves_nothing_reserved(tmp_path: Path) -> None:
    secrets = {"user": "user-0123456789", "password": "secret-0123456789"}
    kind = {"kind": "digest", "username": "{user}", "password": "{password}"}
    budget = {"name": "calls", "unit": "requests", "limit": 9}
    async with running_kind(tmp_path, kind, secrets, settings={"budgets": [budget]}) as rig:
        server, go = DigestServer(secrets["user"], secrets["password"]), threading.Event()
        holds = rig.sidecar.pipeline._holds

        async def slow_store(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            holds._budgets._queue.put(_Task(lambda *_: go.wait(10)))  # a store that takes its time
            await server(seen, reader, writer)

        rig.provider.on("/x", slow_store)
        _, writer = await rig.tls()
        writer.write(f"GET /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode())
        async with asyncio.timeout(10):
            while not server.problems:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # the second attempt is being reserved
        reset(writer)
        await asyncio.sleep(0.5)
        go.set()
        async with asyncio.timeout(10):
            while holds._plans:
                await asyncio.sleep(0.01)
        assert await sums(rig) == (1, 0)
        assert len(rig.provider.requests) == 1
        assert await rig.problems() == ()
