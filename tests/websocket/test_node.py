"""Node's `ws`: compressed, in fragments with a ping between them, logged in by a message."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

import tests.clients.client as clients
from tests.rig.node import installed
from tests.rig.sidecar import KEY, OTHER_KEY

NODE = Path(clients.__file__).parent / "node"


async def test_p1_ws_logs_in_and_sees_no_secret(sockets, tmp_path):
    if (why := await asyncio.to_thread(installed, NODE)) is not None:
        pytest.skip(why)
    got = []

    async def talk(socket):
        assert socket.protocol.extensions
        for _ in range(2):
            got.append(await socket.recv())
            await socket.send(got[-1])
        await socket.close(4000)

    (tmp_path / "agent").mkdir()
    async with sockets(talk) as rig:
        client = clients.Client(rig, tmp_path / "agent", (KEY, OTHER_KEY))
        address = rig.base.replace("https://", "wss://")
        stand_in = rig.stand_in("example")
        ended = await client.run("node", str(NODE / "ws_talk.mjs"), f"{address}/gateway", EXAMPLE_API_KEY=stand_in)
        (call,) = await rig.settled(1)
    assert ended.code == 0, ended.err
    identify = {"op": 2, "d": {"token": stand_in}}
    assert sorted(ended.lines) == sorted(
        [
            "extensions permessage-deflate",
            "pong between",
            f"text {json.dumps(identify, separators=(',', ':'))}",
            "binary 100000",
            "close 4000",
        ]
    )
    assert got[0] == json.dumps({"op": 2, "d": {"token": KEY}}, separators=(",", ":"))
    assert (call.outcome["messages_sent"], call.outcome["close_code"]) == (2, 4000)
