"""H-08, F-14: what is stopped stops, the next call within a second, what runs within five."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import orjson
import pytest
import pytest_asyncio
from sqlalchemy import select, text

from proxy.clock import SystemClock
from proxy.db.engine import DATABASE, open_database
from proxy.db.tables import receipts
from proxy.identity import locks
from tests.control.tenancy import SECRETS, TENANTS, tenancy
from tests.fakes.digest_server import DigestServer
from tests.hostile.test_websocket_control import ACCEPT, KEY_SENT
from tests.rig import Provider, running_rig
from tests.rig.kinds import running_kind
from tests.rig.raw import read_answer
from tests.rig.sidecar import HOSTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from proxy.identity.locks import Key
    from tests.rig import Rig
    from tests.rig.provider import Seen

pytestmark = pytest.mark.asyncio(loop_scope="module")
SOON_S, CUT_S = 1.0, 5.0
UNREAD = "unmanaged.example.test"
UPGRADE = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"

type Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]
"""Its writer would close it when it is let go."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    folder = tmp_path_factory.mktemp("locks")
    provider = Provider(folder, HOSTS)
    await provider.start()
    settings = {**TENANTS, "passthrough_hosts": [f"{UNREAD}:{provider.port}"]}
    async with running_rig(folder, settings=settings, environment=SECRETS, provider=provider) as rig:
        yield rig
    await provider.stop()


@asynccontextmanager
async def locked(rig: Rig, *keys: Key) -> AsyncIterator[None]:
    """Locked by another connection to the database, as by another process."""
    database = open_database(rig.home / DATABASE)
    locks.lock(database, keys, reason="a test", by="ann", clock=SystemClock())
    try:
        yield
    finally:
        locks.unlock(database, keys)
        database.dispose()
    async with asyncio.timeout(CUT_S):
        for agent in ("coder", "rival"):
            while (await rig.call("GET", "/x", agent=agent)).status != 200:
                await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("key", "coder", "rival"),
    [
        (("all", ""), 503, 503),
        (("tenant", "acme"), 503, 200),
        (("account", "example/blue"), 200, 503),
        (("provider", "example"), 503, 503),
    ],
)
async def test_h_08_the_next_call_is_refused_within_a_second(rig: Rig, key: Key, coder: int, rival: int) -> None:
    async with rig.client("coder") as first, rig.client("rival") as second:
        assert (await first.get("/x")).status_code == (await second.get("/x")).status_code == 200
        async with locked(rig, key):
            await asyncio.sleep(SOON_S)
            before = len(rig.provider.requests)
            for agent, status in (("coder", coder), ("rival", rival)):
                answer = await rig.call("GET", "/x", agent=agent)
                assert (answer.status, answer.problem) == (status, "locked_down" if status == 503 else None)
            assert len(rig.provider.requests) == before + [coder, rival].count(200)


async def stream(_seen: object, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An answer that begins and then says nothing for a long time."""
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata: \r\n"
    )
    await writer.drain()
    await asyncio.sleep(30)


async def socket(_seen: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(UPGRADE.encode())
    await writer.drain()
    await reader.read()


async def gone_after(opened: Opened) -> float:
    """Seconds until a connection on which nothing moves is ended."""
    began_s = time.monotonic()
    try:
        async with asyncio.timeout(CUT_S + 5):
            while await opened[0].read(65536):
                pass
    except (ConnectionError, ssl.SSLError):
        pass
    return time.monotonic() - began_s


async def open_stream(rig: Rig) -> Opened:
    rig.provider.on("/stream", stream)
    reader, writer = await rig.tls(agent="coder")
    writer.write(f"GET /stream HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode())
    assert (await read_answer(reader, head_only=True)).status == 200
    return reader, writer


async def open_socket(rig: Rig) -> Opened:
    rig.provider.on("/socket", socket)
    reader, writer = await rig.tls(agent="coder")
    writer.write(
        f"GET /socket HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY_SENT}\r\n\r\n".encode()
    )
    assert (await read_answer(reader)).status == 101
    return reader, writer


async def open_unread(rig: Rig) -> Opened:
    reader, writer = await rig.connect(f"{UNREAD}:{rig.provider.port}", "coder")
    await writer.start_tls(ssl.create_default_context(cafile=str(rig.provider.root)), server_hostname=UNREAD)
    writer.write(f"GET /x HTTP/1.1\r\nHost: {UNREAD}\r\n\r\n".encode())
    assert (await read_answer(reader)).status == 200
    return reader, writer


async def test_f_14_what_runs_is_cut_and_receipts_say_so(rig: Rig) -> None:
    opened = [await open_stream(rig), await open_socket(rig), await open_unread(rig)]
    async with locked(rig, ("agent", "coder")):
        ends = await asyncio.gather(*(gone_after(one) for one in opened))
    assert max(ends) < CUT_S, ends
    calls = [c for c in await rig.settled(1) if c.outcome is not None and c.outcome["error"] == "locked_down"]
    assert [c.outcome["outcome"] for c in calls if c.outcome] == ["response_aborted"] * 3
    assert await rig.problems() == ()


async def test_f_14_of_another_agent_nothing_is_cut(rig: Rig) -> None:
    opened = await open_stream(rig)
    async with locked(rig, ("agent", "rival"), ("account", "example/blue")):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await gone_after(opened)


async def notes_of(rig: Rig, name: str) -> list[tuple[str, str, str]]:
    """What receipts note of `name`: what was done, by whom, and why."""
    await rig.sidecar.receipts.flush()
    database = open_database(rig.home / DATABASE)
    with database.connect() as connection:
        bodies = connection.execute(select(receipts.c.body).where(receipts.c.kind == "note")).scalars().all()
    database.dispose()
    return [(n["note"], n["by"], n["reason"]) for n in map(orjson.loads, bodies) if n.get("name") == name]


async def test_locking_and_letting_go_are_receipted(rig: Rig) -> None:
    before = await notes_of(rig, "other")
    async with locked(rig, ("provider", "other")):
        async with asyncio.timeout(CUT_S):
            while (noted := await notes_of(rig, "other")) == before:
                await asyncio.sleep(0.05)
        assert noted == [*before, ("locked", "ann", "a test")]
    async with asyncio.timeout(CUT_S):
        while (noted := await notes_of(rig, "other"))[len(before) + 1 :] == []:
            await asyncio.sleep(0.05)
    assert noted == [*before, ("locked", "ann", "a test"), ("unlocked", "ann", "a test")]


@pytest.mark.slow
async def test_p5_what_cannot_be_read_is_not_taken_for_unlocked(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    async with tenancy(tmp_path_factory.mktemp("broken")) as rig:
        assert (await rig.call("GET", "/x", agent="coder")).status == 200
        database = open_database(rig.home / DATABASE)
        with database.begin() as connection:
            connection.execute(text("ALTER TABLE locks RENAME TO gone"))
        database.dispose()
        await asyncio.sleep(locks.STALE_S + 0.7)
        assert (await rig.call("GET", "/x", agent="coder")).problem == "policy_unavailable"
        assert caplog.text.count("locks cannot be read") == 1


async def test_h_08_what_was_stopped_meanwhile_is_not_sent_once_more(tmp_path: Path) -> None:
    secrets = {"user": "user-0123456789", "password": "secret-0123456789"}
    kind = {"kind": "digest", "username": "{user}", "password": "{password}"}
    async with running_kind(tmp_path, kind, secrets) as rig:
        server = DigestServer(secrets["user"], secrets["password"])
        database = open_database(rig.home / DATABASE)

        async def locks_then_asks(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            locks.lock(database, [("provider", "signed")], reason="a test", by="ann", clock=SystemClock())
            await rig.sidecar.pipeline.rights._locks.refresh()
            await server(seen, reader, writer)

        rig.provider.on("/x", locks_then_asks)
        with contextlib.suppress(httpx.HTTPError):  # the connection may be cut before the answer is there
            assert (await rig.call("GET", "/x")).status == 401
        assert len(rig.provider.requests) == 1
        database.dispose()
