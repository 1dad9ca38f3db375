"""The shipped profile `discord` at a gateway that behaves as Discord's does: Hello, Identify, Ready, Resume."""

from __future__ import annotations

import json

import pytest
from websockets.exceptions import InvalidStatus

from tests.rig.shipped import shipped_text
from tests.rig.sidecar import accounts
from tests.websocket.conftest import closing_code, joined

REAL = "MTk4NjIyNDgzNDcxOTI1MjQ4.REAL.not-a-real-token-0123456789abcdefgh"
HOST = "gateway.discord.gg"
DISCORD = {
    "host": HOST,
    "hosts": (HOST,),
    "profiles": {"discord": shipped_text("discord")},
    "settings": {"providers": {"discord": accounts(bot="env:DISCORD_BOT_TOKEN")}},
    "environment": {"DISCORD_BOT_TOKEN": REAL},
}
HELLO = {"op": 10, "d": {"heartbeat_interval": 41250}}
QUERY = "/?v=10&encoding=json"


class Gateway:
    """Closes with 4004 whoever does not hold the token."""

    def __init__(self):
        self.targets, self.authorization = [], []

    async def __call__(self, socket):
        self.targets.append(socket.request.path)
        self.authorization.append(socket.request.headers.get("Authorization"))
        await socket.send(json.dumps(HELLO))
        async for message in socket:
            said = json.loads(message)
            if said["op"] in (2, 6) and said["d"]["token"] != REAL:
                await socket.close(4004, f"Authentication failed for {said['d']['token']}")
            elif said["op"] == 2:
                ready = {"session_id": "s", "resume_gateway_url": f"wss://{HOST}", "echo": said["d"]}
                await socket.send(json.dumps({"op": 0, "t": "READY", "s": 1, "d": ready}))
            elif said["op"] == 6:
                await socket.send(json.dumps({"op": 0, "t": "RESUMED", "s": 2, "d": {"was": message}}))
            else:
                await socket.send(json.dumps({"op": 11, "was": said}))


@pytest.fixture
def gateway():
    return Gateway()


def said(op, **data):
    return json.dumps({"op": op, "d": data})


async def test_p1_identify_and_resume_log_in_and_the_token_never_comes_back(sockets, gateway):
    async with sockets(gateway, **DISCORD) as rig:
        stand_in = rig.stand_in("discord")
        async with joined(rig, f"{QUERY}&compress=zlib-stream") as socket:
            assert json.loads(await socket.recv()) == HELLO
            await socket.send(json.dumps({"op": 1, "d": None}))
            assert json.loads(await socket.recv())["op"] == 11
            await socket.send(said(2, token=stand_in, intents=513, properties={"os": "linux"}))
            ready = json.loads(await socket.recv())
            assert (ready["t"], ready["d"]["echo"]["token"]) == ("READY", stand_in)
        async with joined(rig, QUERY, additional_headers={"Authorization": f"Bot {stand_in}"}) as socket:
            await socket.recv()
            await socket.send(said(6, token=stand_in, session_id="s", seq=1))
            resumed = json.loads(await socket.recv())
            assert resumed["t"] == "RESUMED"
            assert json.loads(resumed["d"]["was"])["d"]["token"] == stand_in
        calls = await rig.settled(2)
    assert gateway.targets == [QUERY, QUERY]
    assert gateway.authorization == [None, None]
    assert {call.decision["operation"] for call in calls} == {"gateway.connect"}
    assert {call.outcome["redactions"] for call in calls} == {1}


async def test_p1_a_token_of_the_agents_own_is_not_ours_and_the_close_code_comes_back(sockets, gateway):
    async with sockets(gateway, **DISCORD) as rig:
        async with joined(rig, QUERY) as socket:
            await socket.recv()
            await socket.send(said(2, token=f"Bot {rig.stand_in('discord')}"))
            assert await closing_code(socket) == 4004
            assert socket.protocol.close_rcvd.reason == ""
        (call,) = await rig.settled(1)
    assert (call.outcome["outcome"], call.outcome["close_code"]) == ("completed", 4004)


async def test_a_message_that_quotes_the_stand_in_is_left_alone(sockets, gateway):
    async with sockets(gateway, **DISCORD) as rig, joined(rig, QUERY) as socket:
        await socket.recv()
        quoted = {"op": 3, "d": {"activities": [{"name": rig.stand_in("discord")}]}}
        await socket.send(json.dumps(quoted))
        assert json.loads(await socket.recv())["was"] == quoted


@pytest.mark.parametrize("query", ["/?v=10&encoding=etf", "/?v=10"])
async def test_another_encoding_is_refused(sockets, gateway, query):
    async with sockets(gateway, **DISCORD) as rig:
        with pytest.raises(InvalidStatus) as refused:
            await joined(rig, query)
        assert refused.value.response.status_code == 403
        await rig.settled(1)
    assert gateway.targets == []
