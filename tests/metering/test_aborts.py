"""K-06 and K-12: whoever breaks off, and when: what the provider has seen is paid, once for each attempt, and no more.

Connections end with a reset, not with an end.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio

from tests.metering.conftest import metered
from tests.metering.test_budgets import sums

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.rig import Rig
    from tests.rig.provider import Seen

pytestmark = pytest.mark.asyncio(loop_scope="module")
BUDGET = {"name": "calls", "unit": "requests", "limit": 1000, "window": "lifetime"}
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with metered(tmp_path_factory.mktemp("aborts"), BUDGET) as rig:
        yield rig


def reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Slow:
    """A provider that says when a request has come, and answers when it is told: half, then the rest."""

    def __init__(self) -> None:
        self.came = asyncio.Event()
        self.half = asyncio.Event()
        self.rest = asyncio.Event()

    async def __call__(self, _seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came.set()
        await self.half.wait()
        writer.write(ANSWER[:-5])
        await self.rest.wait()
        writer.write(ANSWER[-5:])


def request(rig: Rig, body: bytes = b"0123456789") -> bytes:
    head = f"POST /slow HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\nContent-Length: 10\r\n\r\n"
    return head.encode() + body


async def unread(rig: Rig, _writer: asyncio.StreamWriter, _reader: Any, _slow: Slow) -> None:
    """Only the tunnel."""


async def half_a_head(rig: Rig, writer: asyncio.StreamWriter, _reader: Any, _slow: Slow) -> None:
    writer.write(request(rig)[:20])
    await writer.drain()


async def half_a_body(rig: Rig, writer: asyncio.StreamWriter, _reader: Any, _slow: Slow) -> None:
    before = len(rig.provider.requests)
    writer.write(request(rig, b"01234"))
    async with asyncio.timeout(10):
        while len(rig.provider.requests) == before:  # its head has come, its body never will
            await asyncio.sleep(0.01)


async def at_once(rig: Rig, writer: asyncio.StreamWriter, _reader: Any, _slow: Slow) -> None:
    writer.write(request(rig))
    await writer.drain()


async def unanswered(rig: Rig, writer: asyncio.StreamWriter, _reader: Any, slow: Slow) -> None:
    writer.write(request(rig))
    await asyncio.wait_for(slow.came.wait(), 10)


async def half_answered(rig: Rig, writer: asyncio.StreamWriter, reader: asyncio.StreamReader, slow: Slow) -> None:
    await unanswered(rig, writer, reader, slow)
    slow.half.set()
    await reader.readuntil(b"01234")


async def answered(rig: Rig, writer: asyncio.StreamWriter, reader: asyncio.StreamReader, slow: Slow) -> None:
    slow.rest.set()
    await half_answered(rig, writer, reader, slow)
    await reader.readexactly(5)


@pytest.mark.parametrize(
    ("stage", "arrives"),
    [(unread, 0), (half_a_head, 0), (half_a_body, 1), (at_once, None), (unanswered, 1), (half_answered, 1), (answered, 1)],
)  # fmt: skip
async def test_an_agent_that_resets_gets_nothing_back(rig: Rig, stage: Any, arrives: int | None) -> None:
    """K-06: what the provider may have seen is settled."""
    slow, before, (paid, _) = Slow(), len(rig.provider.requests), await sums(rig)
    rig.provider.on("/slow", slow)
    reader, writer = await rig.tls()
    await stage(rig, writer, reader, slow)
    reset(writer)
    if arrives is None:  # it may just be on its way
        await asyncio.sleep(0.3)
    async with asyncio.timeout(10):
        while rig.sidecar.pipeline._holds._plans:
            await asyncio.sleep(0.01)
    slow.half.set()
    slow.rest.set()
    used, held = await sums(rig)
    seen = len(rig.provider.requests) - before
    assert held == 0
    assert seen <= used - paid <= 1
    if arrives is not None:
        assert seen == used - paid == arrives


async def refuses(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def breaks_off(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(ANSWER[:-5])
    await writer.drain()
    await asyncio.sleep(0.05)
    reset(writer)


async def fails(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("fault", [refuses, breaks_off, fails])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_each_attempt_that_reached_the_provider_is_paid_once(rig: Rig, fault: Any, method: str) -> None:
    """K-12: an agent that tries again with the same idempotency key pays each attempt that was sent, and once."""
    before, (paid, _) = len(rig.provider.requests), await sums(rig)
    rig.provider.on("/faulty", fault)
    body = b"x" if method == "POST" else None
    async with rig.client() as client:
        for _ in range(3):
            with contextlib.suppress(httpx.HTTPError):
                await client.request(method, "/faulty", content=body, headers={"Idempotency-Key": "same"})
        rig.provider.answers("/faulty", ANSWER)
        assert (
            await client.request(method, "/faulty", content=body, headers={"Idempotency-Key": "same"})
        ).status_code == 200
    used, held = await sums(rig)
    assert (used - paid, held) == (len(rig.provider.requests) - before, 0)
    assert used - paid == 4
