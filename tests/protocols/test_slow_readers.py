"""P7: an agent that reads slowly costs the sidecar no memory, whatever the answer's size."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest

from tests.rig.h2 import H2Agent
from tests.rig.process import HOST, configured

MB = 1024 * 1024
PIECE = b"0123456789abcdef" * 4096
BOUND = 24 * MB
"""What the process may grow by while all readers wait: buffers of asyncio, OpenSSL and HTTP/2, and the first imports."""


def resident(pid: int) -> int:
    """Bytes that a process holds in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


class Watch:
    """The largest memory that a process had while this ran."""

    def __init__(self, pid: int) -> None:
        self.before = self.most = resident(pid)
        self.pid = pid

    async def run(self) -> None:
        while True:
            self.most = max(self.most, resident(self.pid))
            await asyncio.sleep(0.02)

    @property
    def growth(self) -> int:
        return self.most - self.before


def sends(size: int):
    async def large(_seen, _reader, writer):
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nContent-Type: text/plain\r\n\r\n".encode())
        for _ in range(size // len(PIECE)):
            writer.write(PIECE)
            await writer.drain()

    return large


async def tunnel(up, alpn: str):
    reader, writer = await asyncio.open_connection(*up.address, limit=65_536)
    target = f"{HOST}:{up.provider.port}"
    writer.write(
        f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Bearer {up.token}\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    context = ssl.create_default_context(cafile=str(up.home / "ca-bundle.pem"))
    context.set_alpn_protocols([alpn])
    await writer.start_tls(context, server_hostname=HOST)
    return reader, writer, target


async def read_http1(up, path: str, *, wait_s: float, pause_s: float) -> int:
    reader, writer, target = await tunnel(up, "http/1.1")
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n".encode())
    await asyncio.sleep(wait_s)
    got = 0
    await reader.readuntil(b"\r\n\r\n")
    while data := await reader.read(MB):
        got += len(data)
        if got // (8 * MB) != (got - len(data)) // (8 * MB):
            await asyncio.sleep(pause_s)
    writer.close()
    return got


async def read_http2(up, path: str, *, wait_s: float, pause_s: float) -> int:
    reader, writer, target = await tunnel(up, "h2")
    agent = H2Agent(target, reader, writer)
    agent.head(1, "GET", path)
    agent.flush()
    await asyncio.sleep(wait_s)
    got = 0
    while 1 not in agent.ended and agent.over is None:
        await agent.listen(pause_s, 1)
        got += len(agent.bodies.pop(1, b""))
        await asyncio.sleep(pause_s)
    writer.close()
    return got


READERS = {"http1": read_http1, "http2": read_http2}


async def grown(folder: Path, readers, size: int, *, wait_s: float, pause_s: float) -> int:
    """How much the sidecar grew while each of `readers` read an answer of `size` bytes."""
    async with configured(folder) as up:
        up.provider.on("/warm", sends(len(PIECE)))
        up.provider.on("/large", sends(size))
        await up.start()
        for reader in set(readers):
            await reader(up, "/warm", wait_s=0, pause_s=0.01)
        assert up.process is not None
        watch = Watch(up.process.pid)
        task = asyncio.ensure_future(watch.run())
        got = await asyncio.gather(*(reader(up, "/large", wait_s=wait_s, pause_s=pause_s) for reader in readers))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert [length >= size for length in got] == [True] * len(readers)

        return watch.growth


@pytest.mark.slow
@pytest.mark.parametrize("name", ["http1", pytest.param("http2", marks=pytest.mark.slow)])
async def test_p7_a_slow_reader_costs_no_memory(tmp_path, name):
    growth = await grown(tmp_path, [READERS[name]], 32 * MB, wait_s=0.7, pause_s=0.01)
    assert growth < BOUND, f"grew by {growth / MB:.1f} MiB"


@pytest.mark.slow
async def test_p7_an_answer_of_200_mib_read_slowly_costs_no_memory(tmp_path):
    growth = await grown(tmp_path, [read_http1], 200 * MB, wait_s=3, pause_s=0.5)
    assert growth < BOUND, f"grew by {growth / MB:.1f} MiB"


@pytest.mark.slow
async def test_p7_many_slow_readers_cost_little_memory(tmp_path):
    growth = await grown(tmp_path, [read_http1] * 8, 64 * MB, wait_s=3, pause_s=0.2)
    assert growth < 2 * BOUND, f"grew by {growth / MB:.1f} MiB"
