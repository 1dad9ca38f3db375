"""`kind: frames`: the secret stands in the named field of the agent's text messages, exactly there and only there."""

from __future__ import annotations

import contextlib
import json

import pytest
from websockets.exceptions import ConnectionClosed

from tests.rig.sidecar import KEY, OTHER_KEY, accounts
from tests.websocket.conftest import closing_code, joined


class Gateway:
    """A server that remembers its handshakes and what it was sent, and answers `ok`."""

    def __init__(self):
        self.handshakes, self.got = [], []

    async def __call__(self, socket):
        self.handshakes.append(socket.request.headers)
        async for message in socket:
            self.got.append(message)
            await socket.send("ok")


@pytest.fixture
def gateway():
    return Gateway()


async def said(rig, *messages, path="/gateway", **options):
    """Send `messages`, each answered; returns the code with which the other side closed, or None."""
    async with joined(rig, path, **options) as socket:
        with contextlib.suppress(ConnectionClosed):
            for message in messages:
                await socket.send(message)
                await socket.recv()
            await socket.close()
            return None
        return await closing_code(socket)


def identify(token, op=2):
    return json.dumps({"op": op, "d": {"token": token, "intents": 513, "properties": {"os": "linux"}}}, indent=1)


async def test_the_secret_takes_the_stand_ins_place_and_nothing_else_changes(sockets, gateway):
    async with sockets(gateway) as rig:
        stand_in = rig.stand_in("example")
        sent = [identify(stand_in), identify(stand_in, op=6), identify(stand_in).encode()]
        assert await said(rig, *sent) is None
        (call,) = await rig.settled(1)
    assert gateway.got == [identify(KEY), identify(KEY, op=6), sent[2]]
    assert "Authorization" not in gateway.handshakes[0]
    assert (call.decision["operation"], call.decision["credential"]) == ("gateway", "in_frames")
    assert call.outcome["request_bytes"] == sum(map(len, sent))


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_an_identify_in_fragments_is_one_message(sockets, gateway, compression):
    async with sockets(gateway, serving={"compression": compression}) as rig:
        text = identify(rig.stand_in("example"))
        cut = text.index("token") + 15
        async with joined(rig, "/gateway", compression=compression) as socket:
            for pieces in ([text[:cut], text[cut:]], list(text), [text[:5], "", text[5:]]):
                await socket.send(pieces)
                assert await socket.recv() == "ok"
            await socket.send("é" * 5000)
            assert await socket.recv() == "ok"
    assert gateway.got == [identify(KEY)] * 3 + ["é" * 5000]


@pytest.mark.parametrize(
    "elsewhere",
    [
        '{"op": 1, "d": {"token": "STAND_IN"}}',
        '{"op": "2", "d": {"token": "STAND_IN"}}',
        '{"op": true, "d": {"token": "STAND_IN"}}',
        '{"op": 2.0, "d": {"token": "STAND_IN"}}',
        '{"op": 2, "op": 1, "d": {"token": "STAND_IN"}}',
        '{"op": 2, "d": {"token": "STAND_IN", "token": "x"}}',
        '{"op": 2, "d": {"token": "x"}, "d": {"token": "STAND_IN"}}',
        '{"op": 2, "d": {"token": "Bearer STAND_IN"}}',
        '{"op": 2, "d": {"token": {"token": "STAND_IN"}}}',
        '{"op": 2, "d": [{"token": "STAND_IN"}]}',
        '{"op": 2, "d": {"content": "STAND_IN"}}',
        '{"op": 2, "d": {"Token": "STAND_IN"}}',
        '{"op": 2, "token": "STAND_IN"}',
        '[{"op": 2, "d": {"token": "STAND_IN"}}]',
        '{"op": 2, "d": {"token": "STAND_IN"}} trailing',
        '{"op": 2, "d": {"token": "STAND_IN"}, "x": NaN}',
        '{"op": 2, "d": {"token": "STAND_IN"}',
        "STAND_IN",
    ],
)
def test_a_stand_in_elsewhere_is_left_alone(elsewhere):
    from proxy.credentials.frames import FrameRewriter, FrameRule
    from proxy.credentials.standin import StandIn, StandIns
    from proxy.model import AccountId

    stand_ins = StandIns([StandIn("STAND_IN", "tester", AccountId("example", "main"), "api_key")])
    rules = tuple(FrameRule(pointer="/d/token", when={"/op": op}) for op in (2, 6))
    content = elsewhere.encode()
    rewriter = FrameRewriter(rules, KEY, stand_ins, "STAND_IN")
    assert rewriter.rewritten(content) == content
    good = b'{"op": 2, "d": {"token": "STAND_IN"}}'
    assert rewriter.rewritten(good) == good.replace(b"STAND_IN", KEY.encode())


async def test_a_quoted_stand_in_passes_and_the_socket_stays_open(sockets, gateway):
    async with sockets(gateway) as rig:
        quoted = json.dumps({"op": 3, "d": {"status": f"what is {rig.stand_in('example')}?"}})
        assert await said(rig, quoted) is None
        await rig.settled(1)
    assert gateway.got == [quoted]


async def test_without_the_rule_no_frame_is_changed(sockets, gateway):
    async with sockets(gateway) as rig:
        text = identify(rig.stand_in("example"))
        assert await said(rig, text, path="/socket") is None
        await rig.settled(1)
    assert gateway.got == [text]
    assert gateway.handshakes[0]["Authorization"] == f"Bearer {KEY}"


async def test_p6_a_stand_in_of_another_provider_closes_with_1008_and_is_not_sent(sockets, gateway):
    async with sockets(gateway) as rig:
        assert await said(rig, "hello", identify(rig.stand_in("other"))) == 1008
        (call,) = await rig.settled(1)
    assert gateway.got == ["hello"]
    assert (call.outcome["outcome"], call.outcome["error"]) == ("response_aborted", "credential_scope")
    assert (call.outcome["close_code"], call.outcome["messages_sent"]) == (1008, 1)


async def test_p6_a_stand_in_of_another_account_or_agent_closes_with_1008(sockets, gateway):
    work = {"secrets": {"api_key": "env:OTHER_TOKEN"}}
    both = {"accounts": {"main": {**accounts(api_key="env:EXAMPLE_API_KEY")["accounts"]["main"], "default": True}}}
    both["accounts"]["work"] = work
    settings = {"providers": {"example": both, "other": accounts(token="env:OTHER_TOKEN")}}
    async with sockets(gateway, settings=settings, agents={"tester": ("*",), "second": ("*",)}) as rig:
        for stand_in in (rig.stand_in("example", account="work"), rig.stand_in("example", "", "main", "second")):
            assert await said(rig, identify(stand_in)) == 1008
        assert await said(rig, identify(rig.stand_in("example", account="main"))) is None
        # The handshake chooses the account by a stand-in that is taken off.
        headers = {"Authorization": f"Bearer {rig.stand_in('example', account='work')}"}
        text = identify(rig.stand_in("example", account="work"))
        assert await said(rig, text, additional_headers=headers) is None
        await rig.settled(4)
    assert gateway.got == [identify(KEY), identify(OTHER_KEY)]
    assert all("Authorization" not in handshake for handshake in gateway.handshakes)


async def test_p1_what_the_provider_repeats_of_an_identify_is_scrubbed(sockets):
    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    async with sockets(echo) as rig:
        async with joined(rig, "/gateway") as socket:
            await socket.send(identify(rig.stand_in("example")))
            assert await socket.recv() == identify(rig.stand_in("example"))
        await rig.settled(1)


async def test_a_secret_that_cannot_be_read_refuses_the_handshake(sockets, gateway):
    from websockets.exceptions import InvalidStatus

    settings = {"providers": {"example": accounts(api_key="env:NOT_THERE"), "other": accounts(token="env:OTHER_TOKEN")}}
    async with sockets(gateway, settings=settings) as rig:
        with pytest.raises(InvalidStatus) as refused:
            await said(rig, "x")
        (call,) = await rig.settled(1)
    assert refused.value.response.status_code == 502
    assert (call.decision["slug"], gateway.handshakes) == ("credential_unavailable", [])
