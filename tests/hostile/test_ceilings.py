"""P7: the ceilings of every listener, tried by one agent against the others."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from proxy.canonical import proxy_protocol
from proxy.front.names import MOST_STREAMS
from tests.rig import running_rig
from tests.rig.raw import read_answer

AGENTS = {"tester": {"accounts": ["*"]}, "second": {"accounts": ["*"]}}
GRANTS = {"tester": ("*",), "second": ("*",)}
FEW = {"max_connections": 6, "max_connections_per_agent": 2, "header_timeout_s": 5}
ASKED = "GET /example/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n"
QUERY = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01"


@contextlib.asynccontextmanager
async def listening(folder, listener, *, dns=None, **settings):
    listeners = {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0", "more": [listener], "dns": dns}
    async with running_rig(
        folder, settings={"listeners": listeners, "agents": AGENTS, **settings}, agents=GRANTS
    ) as rig:
        yield rig


@pytest.mark.parametrize("kind", ["base_url", "transparent", "proxy"])
async def test_p7_silent_connections_of_one_agent_keep_no_other_out(tmp_path, kind):
    at = {"at": f"unix:{tmp_path}/l.sock", "kind": kind, "agent": "tester"}
    header = b""
    if kind == "transparent":
        at["proxy_protocol"] = True
        header = proxy_protocol.encode(("127.0.0.1", 1), ("198.18.0.7", 443), None)
    async with listening(tmp_path, at, limits=FEW) as rig:
        writers = []
        for _ in range(10):
            _, writer = await asyncio.open_unix_connection(f"{tmp_path}/l.sock")
            writer.write(header)
            writers.append(writer)
        await asyncio.sleep(0.2)
        answer = await rig.call(
            "GET", "/x", agent="second", headers={"authorization": f"Bearer {rig.stand_in(agent='second')}"}
        )
        assert answer.status == 200
        for writer in writers:
            writer.close()


async def test_p7_connections_of_one_agent_keep_no_other_off_a_listener_of_all(tmp_path):
    listener = {"at": "127.0.0.1:0", "kind": "base_url"}
    async with listening(tmp_path, listener, limits={**FEW, "max_connections": 100}) as rig:
        host, _, port = rig.sidecar.endpoints[1].rpartition(":")
        statuses, kept = [], []
        for agent in ("tester", "tester", "tester", "second"):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(ASKED.format(rig.stand_in(agent=agent)).encode())
            statuses.append((await read_answer(reader)).status)
            kept.append(writer)
        assert statuses == [200, 200, 503, 200]
        for writer in kept:
            writer.close()


async def test_p7_the_stub_resolver_holds_few_connections(tmp_path):
    listener = {"at": "127.0.0.1:0", "kind": "base_url", "agent": "tester"}
    async with listening(tmp_path, listener, dns="127.0.0.1:0") as rig:
        opened = [await asyncio.open_connection(*rig.sidecar.dns) for _ in range(MOST_STREAMS + 50)]
        ends = [asyncio.ensure_future(reader.read(1)) for reader, _ in opened]
        ended, _ = await asyncio.wait(ends, timeout=1)
        assert len(ended) == 50
        for _, writer in opened:
            writer.close()
        await asyncio.wait(ends)
        reader, writer = await asyncio.open_connection(*rig.sidecar.dns)  # all are free again
        writer.write(len(QUERY).to_bytes(2) + QUERY)
        assert (await asyncio.wait_for(reader.readexactly(4), 5))[2:] == QUERY[:2]
        writer.close()
