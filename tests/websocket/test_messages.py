"""Messages through the real proxy between the `websockets` client and server: carried, scrubbed, bounded, counted."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory

from tests.rig.sidecar import KEY, accounts
from tests.websocket.conftest import closing_code, joined

MB = 1024 * 1024


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def leak(socket):
    """Says the key in every way: text, bytes, in pieces, with a ping between them."""
    async for message in socket:
        given = f"é {message} {KEY} é"
        await socket.send(given)
        await socket.send(given.encode())
        await socket.send([given[:20], given[20:30], given[30:]])


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_messages_of_every_size_and_form_come_back_as_they_were(sockets, compression):
    async with sockets(echo, serving={"compression": compression, "max_size": None}) as rig:
        async with joined(rig, compression=compression) as socket:
            assert bool(socket.protocol.extensions) == (compression is not None)
            for size in (0, 1, 125, 126, 65_535, 65_536, 2 * MB):
                for message in ("é" * (size // 2), b"\xff" * size):
                    await socket.send(message)
                    assert await socket.recv() == message
            await socket.send(["in ", "frag", "", "ments é"])
            assert await socket.recv() == "in fragments é"
        (call,) = await rig.settled(1)
    assert (call.outcome["outcome"], call.outcome["close_code"]) == ("completed", 1000)
    assert (call.outcome["messages_sent"], call.outcome["messages_received"]) == (15, 15)
    assert call.outcome["request_bytes"] == call.outcome["response_bytes"]


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_p1_secrets_in_text_bytes_and_fragments_are_scrubbed(sockets, compression):
    async with sockets(leak, serving={"compression": compression}) as rig:
        async with joined(rig, compression=compression) as socket:
            await socket.send("hello")
            said = f"é hello {rig.stand_in()} é"
            assert await socket.recv() == said
            assert await socket.recv() == said.encode()
            assert await socket.recv() == said
        (call,) = await rig.settled(1)
    assert call.outcome["redactions"] == 3


async def test_p1_a_value_that_rotated_while_the_socket_was_open_is_scrubbed_too(sockets, tmp_path):
    fresh = "sk-example-ROTATED-0123456789abcdef"
    kept = tmp_path / "key"
    kept.write_text(KEY)
    providers = {"example": accounts(api_key=f"file:{kept}"), "other": accounts(token="env:OTHER_TOKEN")}

    async def tell(socket):
        async for _ in socket:
            await socket.send(fresh)

    async with sockets(tell, settings={"providers": providers}) as rig, joined(rig) as socket:
        await socket.send("x")
        assert await socket.recv() == fresh
        kept.write_text(fresh)
        async with joined(rig):
            await socket.send("x")
            assert await socket.recv() == rig.stand_in()


@pytest.mark.parametrize(
    ("client", "server"),
    [
        ({"client_no_context_takeover": True}, {}),
        ({"server_no_context_takeover": True}, {}),
        ({"server_max_window_bits": 9, "client_max_window_bits": 10}, {}),
        ({}, {"server_no_context_takeover": True, "client_no_context_takeover": True}),
        ({"client_max_window_bits": True}, {"client_max_window_bits": 9, "server_max_window_bits": 9}),
    ],
)
async def test_compression_is_agreed_from_end_to_end(sockets, client, server):
    serving = {"compression": None, "extensions": [ServerPerMessageDeflateFactory(**server)]}
    async with sockets(echo, serving=serving) as rig:
        factory = ClientPerMessageDeflateFactory(**client)
        async with joined(rig, compression=None, extensions=[factory]) as socket:
            (agreed,) = socket.protocol.extensions
            for name, value in {**client, **server}.items():
                assert (
                    f"{name}={value}" in repr(agreed).replace("remote_", "server_").replace("local_", "client_")
                    or value is True
                )
            for number in range(50):
                await socket.send(f"{number} " * 3000)
                assert await socket.recv() == f"{number} " * 3000


async def test_a_server_without_compression_gets_none(sockets):
    async with sockets(echo, serving={"compression": None}) as rig, joined(rig, compression="deflate") as socket:
        assert socket.protocol.extensions == []
        await socket.send("x" * 1000)
        assert await socket.recv() == "x" * 1000


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_p7_a_message_beyond_the_limit_closes_with_1009(sockets, compression):
    codes = []

    async def count(socket):
        with contextlib.suppress(ConnectionClosed):
            await socket.recv()
        codes.append(await closing_code(socket))

    settings = {"limits": {"max_message_bytes": 100_000}}
    async with sockets(count, serving={"compression": compression, "max_size": None}, settings=settings) as rig:
        async with joined(rig, compression=compression) as socket:
            with contextlib.suppress(ConnectionClosed):
                await socket.send("x" * 100_001)
            assert await closing_code(socket) == 1009
        (call,) = await rig.settled(1)
    assert codes == [1009]
    assert (call.outcome["outcome"], call.outcome["error"]) == ("response_aborted", "message_too_large")
    assert (call.outcome["close_code"], call.outcome["messages_sent"]) == (1009, 0)


async def test_p7_the_limit_holds_for_the_message_not_for_its_fragments(sockets):
    settings = {"limits": {"max_message_bytes": 10_000}}
    async with sockets(echo, serving={"max_size": None}, settings=settings) as rig:
        async with joined(rig) as socket:
            await socket.send(["x" * 1000] * 10)
            assert await socket.recv() == "x" * 10_000
            with contextlib.suppress(ConnectionClosed):
                await socket.send(["x" * 1000] * 11)
            assert await closing_code(socket) == 1009
        await rig.settled(1)


async def test_p7_a_provider_beyond_the_limit_is_closed_too(sockets):
    async def shout(socket):
        await socket.send("x" * 100_001)

    async with sockets(shout, settings={"limits": {"max_message_bytes": 100_000}}) as rig:
        async with joined(rig) as socket:
            assert await closing_code(socket) == 1009
        (call,) = await rig.settled(1)
    assert call.outcome["error"] == "message_too_large"


async def test_p7_all_messages_together_have_a_limit(sockets):
    async with sockets(echo, settings={"limits": {"max_socket_bytes": 5000}}) as rig:
        async with joined(rig) as socket:
            for _ in range(2):
                await socket.send("x" * 1000)
                assert await socket.recv() == "x" * 1000
            with contextlib.suppress(ConnectionClosed):
                await socket.send("x" * 1500)
            assert await closing_code(socket) == 1008
        (call,) = await rig.settled(1)
    assert (call.outcome["error"], call.outcome["messages_sent"]) == ("socket_total_reached", 2)


async def test_p5_a_revoked_agent_is_cut_off_on_an_open_socket_in_both_directions(sockets):
    begin = asyncio.Event()

    async def talk(socket):
        await socket.recv()
        await begin.wait()
        with contextlib.suppress(ConnectionClosed):
            await socket.send("an event")
            await socket.wait_closed()

    async with sockets(talk) as rig:
        async with joined(rig) as one, joined(rig) as other:
            await one.send("x")
            await other.send("x")
            rig.sidecar._parts.authenticator._known.clear()
            await one.send("y")
            assert await closing_code(one) == 1008
            begin.set()
            assert await closing_code(other) == 1008
        calls = await rig.settled(2)
    assert {call.outcome["error"] for call in calls} == {"proxy_auth_required"}
    assert {call.outcome["messages_received"] for call in calls} == {0}


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4004, 4999])
async def test_close_codes_are_carried_both_ways(sockets, code):
    heard = []

    async def talk(socket):
        with contextlib.suppress(ConnectionClosed):
            await socket.close(int(await socket.recv()), "told you")
        heard.append((await closing_code(socket), socket.protocol.close_rcvd.reason))

    async with sockets(talk) as rig:
        async with joined(rig) as socket:
            await socket.send(str(code))
            assert await closing_code(socket) == code
            assert socket.protocol.close_rcvd.reason == ""
        async with joined(rig) as socket:
            await socket.close(code, "so long")
        calls = await rig.settled(2)
    assert heard[1] == (code, "so long")
    assert {call.outcome["close_code"] for call in calls} == {code}
    assert {call.outcome["outcome"] for call in calls} == {"completed"}


async def test_a_provider_that_is_lost_ends_the_agents_connection_without_a_close_frame(sockets):
    async def vanish(socket):
        await socket.recv()
        socket.transport.abort()

    async with sockets(vanish) as rig:
        async with joined(rig) as socket:
            await socket.send("x")
            assert await closing_code(socket) is None
        (call,) = await rig.settled(1)
    assert (call.outcome["outcome"], call.outcome["close_code"]) == ("upstream_aborted", 1006)


async def test_an_agent_that_is_lost_ends_the_providers_connection(sockets):
    ended = asyncio.get_running_loop().create_future()

    async def wait(socket):
        ended.set_result(await closing_code(socket))

    async with sockets(wait) as rig:
        async with joined(rig) as socket:
            socket.transport.abort()
        assert await asyncio.wait_for(ended, 10) is None
        (call,) = await rig.settled(1)
    assert call.outcome["outcome"] == "client_aborted"


async def test_pings_of_either_side_are_answered_by_the_other(sockets):
    answered = asyncio.get_running_loop().create_future()

    async def ping(socket):
        answered.set_result(await (await socket.ping(b"from the provider")))
        await socket.wait_closed()

    async with sockets(ping, serving={"ping_interval": 0.05, "ping_timeout": 0.5}) as rig:
        async with joined(rig, ping_interval=0.05, ping_timeout=0.5) as socket:
            assert await (await socket.ping(b"from the agent")) >= 0
            assert await asyncio.wait_for(answered, 10) >= 0
            await asyncio.sleep(0.7)  # the keep-alive of both libraries closes where a pong does not fit its ping
            assert await (await socket.ping()) >= 0
        (call,) = await rig.settled(1)
    assert call.outcome["close_code"] == 1000


async def test_p7_an_idle_socket_is_closed_with_1001(sockets):
    async def wait(socket):
        await socket.wait_closed()

    settings = {"limits": {"idle_timeout_s": 0.4}}
    async with sockets(wait, serving={"ping_interval": None}, settings=settings) as rig:
        async with joined(rig, ping_interval=None) as socket:
            assert await asyncio.wait_for(closing_code(socket), 10) == 1001
        (call,) = await rig.settled(1)
    assert call.outcome["error"] == "idle_timeout"


async def test_text_that_is_not_utf8_closes_with_1007(sockets):
    async with sockets(echo) as rig:
        async with joined(rig) as socket:
            with contextlib.suppress(ConnectionClosed):
                await socket.send(b"\xff\xfe", text=True)
            assert await closing_code(socket) == 1007
        (call,) = await rig.settled(1)
    assert call.outcome["error"] == "invalid_message"
