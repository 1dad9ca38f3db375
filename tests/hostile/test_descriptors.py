"""P7: whoever stops reading, or leaves many things open, costs nothing for long."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from tests.rig import running_rig
from tests.rig.raw import read_answer

MANY = tuple(f"h{index}.example.test" for index in range(80))


def sockets_at(port: int) -> int:
    """Connections that this machine has open with `port` as the local end, and that have not been closed by us."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for row in rows if int(row[1].rpartition(":")[2], 16) == port and row[3] == "01")


def narrow_client() -> socket.socket:
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    return raw


async def gone(count, *, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while count():
            await asyncio.sleep(0.05)


async def test_p7_an_idle_connection_that_is_not_read_gives_its_socket_back(tmp_path):
    async with running_rig(tmp_path, settings={"limits": {"idle_timeout_s": 0.3}}) as rig:

        async def flood(_seen, _reader, writer):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            for _ in range(500):
                writer.write(b"x" * 65_536)
                await writer.drain()

        rig.provider.on("/x", flood)
        raw = narrow_client()
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, rig.sidecar.proxy)
        reader, writer = await asyncio.open_connection(sock=raw, limit=1024)
        authority = f"api.example.test:{rig.provider.port}"
        writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{rig.credentials()}\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        await writer.start_tls(rig.trust(), server_hostname="api.example.test")
        writer.transport.pause_reading()
        writer.write(f"GET /x HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        await rig.settled(1)
        try:
            await gone(lambda: sockets_at(rig.sidecar.proxy[1]), within_s=10)
        finally:
            writer.transport.abort()


async def test_p7_a_tunnel_that_is_not_read_ends_after_the_idle_time(tmp_path):
    settings = {"unmatched": "pass", "limits": {"idle_timeout_s": 0.3}}

    async def flood(reader, writer):
        try:
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
        except OSError:
            writer.transport.abort()

    upstream = await asyncio.start_server(flood, "127.0.0.1", 0)
    port = upstream.sockets[0].getsockname()[1]
    async with running_rig(tmp_path, settings=settings) as rig:
        raw = narrow_client()
        await asyncio.get_running_loop().sock_connect(raw, rig.sidecar.proxy)
        authority = f"unmanaged.example.test:{port}"
        head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{rig.credentials()}\r\n"
        await asyncio.get_running_loop().sock_sendall(raw, head.encode())
        try:
            await asyncio.sleep(0.3)
            await gone(lambda: rig.sidecar.gauges()["connections"], within_s=10)
        finally:
            raw.close()
        await rig.settled(1)
    upstream.close()


async def test_p7_one_plain_connection_holds_a_bounded_number_of_upstream_connections(tmp_path):
    open_now = 0

    async def keep(reader, writer):
        nonlocal open_now
        open_now += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
        finally:
            open_now -= 1

    upstream = await asyncio.start_server(keep, "127.0.0.1", 0)
    port = upstream.sockets[0].getsockname()[1]
    hosts = ("api.example.test", "other.example.test", *MANY)
    async with running_rig(tmp_path, settings={"unmatched": "pass"}, hosts=hosts) as rig:
        reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
        for host in MANY:
            head = f"GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\n{rig.credentials()}\r\n"
            writer.write(head.encode())
            assert (await read_answer(reader)).status == 200
        most = open_now
        writer.transport.abort()
        assert most <= 64
    upstream.close()


async def test_p7_upstream_connections_end_with_the_agents_connection(rig):
    for _ in range(5):
        reader, writer = await rig.tls()
        writer.write(f"GET /x HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode())
        await read_answer(reader)
        writer.transport.abort()
    await rig.settled(5)
    await gone(lambda: rig.sidecar.gauges()["connections"], within_s=10)
    await gone(lambda: sockets_at(rig.provider.port), within_s=10)


async def test_p4_a_tunnel_that_the_drain_ends_says_what_it_carried(tmp_path):
    async def echo(reader, writer):
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    upstream = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = upstream.sockets[0].getsockname()[1]
    async with running_rig(tmp_path, settings={"unmatched": "pass"}) as rig:
        reader, writer = await rig.connect(f"unmanaged.example.test:{port}")
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        await rig.sidecar.drain()
        (call,) = await rig.settled(1)
        writer.transport.abort()
        assert (call.outcome["request_bytes"], call.outcome["response_bytes"]) == (5, 5)
        assert call.outcome["outcome"] != "completed"
    upstream.close()
