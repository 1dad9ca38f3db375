"""H-08, F-14: an agent that is revoked while much of its is open: cut within five seconds, and receipts say so."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from proxy.clock import SystemClock
from proxy.db.engine import DATABASE, open_database
from proxy.identity import store
from proxy.identity.directory import Directory
from proxy.identity.registry import AgentRegistry
from tests.rig import running_rig
from tests.rig.raw import read_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from proxy.identity.registry import Authenticator
    from proxy.settings import Settings
    from tests.rig import Rig

CUT_S = 5.0


@asynccontextmanager
async def known_to_the_database(folder: Path) -> AsyncIterator[Rig]:
    """A rig whose agents `coder` and `other` have their tokens in the database."""
    (folder / "home").mkdir(mode=0o700)
    database, clock = open_database(folder / "home" / DATABASE), SystemClock()
    tokens = {name: store.add_agent(database, name, ("*",), clock=clock) for name in ("coder", "other")}

    def before(_registry: Authenticator, settings: Settings) -> Authenticator:
        return AgentRegistry(database, clock=clock, directory=Directory.of(settings))

    agents = dict.fromkeys(tokens, ("*",))
    async with running_rig(folder, agents=agents, before=before) as rig:
        rig.tokens.update(tokens)
        yield rig
    database.dispose()


async def stream(_seen: object, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(300):
        writer.write(b"6\r\ndata: \r\n")
        await writer.drain()
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("count", [8, pytest.param(100, marks=pytest.mark.slow)])
async def test_h_08_f_14_a_revoked_agent_loses_what_it_has_open(tmp_path: Path, count: int) -> None:
    """H-08, F-14: half of the tunnels stream, half are idle; another agent's goes on."""
    async with known_to_the_database(tmp_path) as rig:
        rig.provider.on("/stream", stream)
        head = f"GET /stream HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode()
        opened = [await rig.tls(agent="coder") for _ in range(count)]
        kept = await rig.tls(agent="other")
        for reader, writer in (*opened[::2], kept):
            writer.write(head)
            assert (await read_answer(reader, head_only=True)).status == 200
        database = open_database(rig.home / DATABASE)
        began_s = time.monotonic()
        assert store.revoke_agent(database, "coder", clock=SystemClock())
        database.dispose()
        ends = await asyncio.gather(*(gone_after(reader, began_s) for reader, _ in opened))
        assert max(ends) < CUT_S, ends
        assert await kept[0].read(1)
        kept[1].transport.abort()
        with pytest.raises(AssertionError, match="407"):
            await rig.tls(agent="coder")
        calls = [c for c in await rig.settled(count // 2 + 1) if c.outcome and c.decision["agent"] == "coder"]
        assert {(c.outcome["outcome"], c.outcome["error"]) for c in calls if c.outcome} == {
            ("response_aborted", "revoked")
        }
        assert len(calls) == count // 2


async def gone_after(reader: asyncio.StreamReader, began_s: float) -> float:
    try:
        async with asyncio.timeout(CUT_S + 5):
            while await reader.read(65536):
                pass
    except (ConnectionError, ssl.SSLError):
        pass
    return time.monotonic() - began_s
