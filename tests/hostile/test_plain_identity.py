"""P6 on a plain connection: one connection, several identities."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.rig import running_rig
from tests.rig.raw import read_answer
from tests.rig.sidecar import EXAMPLE, KEY, OTHER

AGENTS = {"alice": ("*",), "bob": ()}


@pytest.fixture
async def plain(tmp_path):
    """A sidecar whose profile speaks plain HTTP, and the heads that arrived at its provider."""
    heads: list[bytes] = []

    async def serve(reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    example = EXAMPLE.replace("port: {port}", f"port: {port}, scheme: http")
    async with running_rig(tmp_path, agents=AGENTS, profiles={"example": example, "other": OTHER}) as rig:
        yield rig, f"api.example.test:{port}", heads
    server.close()


@pytest.mark.parametrize("who", ["bob", "nobody", "wrong"])
async def test_p6_another_agents_request_on_the_same_connection_is_not_the_first_agents(plain, who):
    rig, authority, heads = plain
    lines = {"bob": rig.credentials("bob"), "nobody": "", "wrong": "Proxy-Authorization: Bearer bca_wrong\r\n"}[who]
    reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
    for path, who_asks in (("one", rig.credentials("alice")), ("two", lines)):
        writer.write(f"GET http://{authority}/{path} HTTP/1.1\r\nHost: {authority}\r\n{who_asks}\r\n".encode())
        with contextlib.suppress(asyncio.IncompleteReadError):
            await read_answer(reader)
    writer.transport.abort()
    calls = await rig.settled(1)
    assert [head.split(b" ")[1] for head in heads] == [b"/one"], "alice's key left for a request that she did not make"
    assert KEY.encode() in heads[0]
    assert sum(call.decision["agent"] == "alice" for call in calls) == 1
