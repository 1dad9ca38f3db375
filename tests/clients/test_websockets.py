"""The `websockets` library through the proxy: the key in the handshake, and none in what comes back."""

from __future__ import annotations

from tests.fakes.socket_server import talking
from tests.rig.sidecar import KEY


async def test_p1_websockets(rig, client):
    rig.provider.on("/socket", talking("authorization", f"Bearer {KEY}", before=f"{KEY} says "))
    stand_in = rig.stand_in()
    address = rig.base.replace("https://", "wss://")
    ended = await client.python("websockets_talk.py", f"{address}/socket", EXAMPLE_API_KEY=stand_in)
    assert ended.code == 0, ended.err
    says = f"{stand_in} says"
    assert ended.lines == [f"{says} hello", f"{says} again", f"binary {says} bytes"]
    assert rig.provider.last.all("authorization") == [f"Bearer {KEY}"]
    (call,) = await rig.settled(1)
    assert (call.decision["operation"], call.outcome["status"], call.outcome["redactions"]) == ("socket", 101, 3)
