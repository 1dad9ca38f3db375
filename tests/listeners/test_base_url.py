"""Base-URL mode: paths below our own address, for SDKs that take a base URL; the same pipeline and receipts."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx
import pytest
from websockets.asyncio.client import connect as open_websocket

from tests.fakes.socket_server import talking
from tests.rig import running_rig
from tests.rig.raw import read_answer
from tests.rig.sidecar import EXAMPLE, KEY, OTHER

AGENTS = {"tester": {"accounts": ["*"]}, "second": {"accounts": ["*"]}}
GRANTS = {"tester": ("*",), "second": ("*",)}


def settings(**listener):
    more = [{"at": "127.0.0.1:0", "kind": "base_url", **listener}]
    return {"listeners": {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0", "more": more}, "agents": AGENTS}


@pytest.fixture
async def rig(tmp_path):
    async with running_rig(tmp_path, settings=settings(), agents=GRANTS) as running:
        yield running


@pytest.fixture
async def bound(tmp_path):
    async with running_rig(tmp_path, settings=settings(agent="tester"), agents=GRANTS) as running:
        yield running


def client(rig):
    return httpx.AsyncClient(base_url=f"http://{rig.sidecar.endpoints[1]}", trust_env=False, timeout=20)


async def get(rig, path, **headers):
    async with client(rig) as http:
        return await http.get(path, headers=headers)


def problem(answer):
    return answer.json()["type"].removeprefix("urn:briefcased:error:")


@pytest.mark.parametrize("place", ["example", "api.example.test:PORT"])
async def test_p2_the_stand_in_says_who_asks_and_is_replaced(rig, place):
    base = place.replace("PORT", str(rig.provider.port))
    answer = await get(rig, f"/{base}/v1/models?x=1", authorization=f"Bearer {rig.stand_in()}")
    assert answer.status_code == 200
    seen = rig.provider.last
    assert (seen.target, seen.one("authorization")) == ("/v1/models?x=1", f"Bearer {KEY}")
    assert seen.one("host") == f"api.example.test:{rig.provider.port}"
    assert KEY not in answer.text
    (call,) = await rig.settled(1)
    facts = {name: call.decision[name] for name in ("agent", "token_id", "capture", "host", "path")}
    assert facts == {
        "agent": "tester", "token_id": "@stand-in", "capture": "base_url", "host": "api.example.test",
        "path": "/v1/models",
    }  # fmt: skip


async def test_each_head_on_a_connection_is_judged_alone(rig):
    async with client(rig) as http:
        for agent in ("tester", "second"):
            await http.get("/example/x", headers={"authorization": f"Bearer {rig.stand_in(agent=agent)}"})
        assert (await http.get("/example/x")).status_code == 407
    calls = await rig.settled(3)
    assert [call.decision["agent"] for call in calls] == ["tester", "second", "-"]


async def test_a_token_goes_before_a_stand_in(rig):
    headers = {"proxy-authorization": f"Bearer {rig.tokens['second']}"}
    assert (await get(rig, "/example/x", **headers)).status_code == 200
    other = {**headers, "authorization": f"Bearer {rig.stand_in(agent='tester')}"}
    assert problem(await get(rig, "/example/x", **other)) == "credential_scope"
    wrong = {"proxy-authorization": "Bearer nonsense", "authorization": f"Bearer {rig.stand_in()}"}
    assert (await get(rig, "/example/x", **wrong)).status_code == 407
    assert len(rig.provider.requests) == 1


async def test_p5_stand_ins_of_two_agents_say_nothing(rig):
    headers = {"authorization": f"Bearer {rig.stand_in()}", "x-token": rig.stand_in("other", agent="second")}
    assert (await get(rig, "/example/x", **headers)).status_code == 407
    assert not rig.provider.requests


async def test_p5_a_stand_in_that_could_be_guessed_says_nothing(tmp_path):
    weak = OTHER.replace("base62:24", "base62:14")
    async with running_rig(tmp_path, settings=settings(), profiles={"example": EXAMPLE, "other": weak}) as rig:
        assert (await get(rig, "/other/x", **{"x-token": rig.stand_in("other")})).status_code == 407
        assert not rig.provider.requests


async def test_h_08_another_agent_of_the_same_name_has_other_stand_ins(rig):
    """H-08: in base-URL mode a stand-in is all that an agent shows."""
    old, parts, generation = rig.stand_in(), rig.sidecar._parts, rig.sidecar.generation
    rig.sidecar._parts = replace(parts, agents=lambda: tuple(replace(one, life=1) for one in parts.agents()))
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(rig.sidecar.watch_agents())
        while rig.sidecar.generation == generation:
            await asyncio.sleep(0.05)
        watching.cancel()
    assert (await get(rig, "/example/x", authorization=f"Bearer {old}")).status_code == 407
    assert (await get(rig, "/example/x", authorization=f"Bearer {rig.stand_in()}")).status_code == 200


@pytest.mark.parametrize("path", ["/nothing/x", "/", "//example/x", "/unmanaged.example.test/x", "/*/x", "/EXAMPLE/x"])
async def test_p4_what_names_no_managed_host_is_refused(bound, path):
    async with client(bound) as http:
        answer = await http.request(
            "GET", httpx.URL(f"http://{bound.sidecar.endpoints[1]}").copy_with(raw_path=path.encode())
        )
    assert problem(answer) == "destination_not_allowed"
    (call,) = await bound.settled(1)
    assert (call.decision["decision"], call.decision["capture"]) == ("deny", "base_url")


async def test_the_listener_of_one_agent_asks_for_no_token(bound):
    assert (await get(bound, "/example/x")).status_code == 200
    assert bound.provider.last.one("authorization") == f"Bearer {KEY}"
    (call,) = await bound.settled(1)
    assert (call.decision["agent"], call.decision["token_id"]) == ("tester", "@listener")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.test"},
        {"sec-fetch-site": "cross-site"},
        {"host": "evil.test"},
        {"host": "localhost.evil.test:80"},
    ],
)
async def test_p5_a_page_in_a_browser_cannot_use_the_listener_of_an_agent(bound, headers):
    assert (await get(bound, "/example/x", **headers)).status_code == 407
    assert not bound.provider.requests
    assert (await get(bound, "/example/x", host="localhost:1")).status_code == 200


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("/next?a=1", "/example/next?a=1"),
        ("https://api.example.test:PORT/next#f", "/example/next#f"),
        ("https://other.example.test:PORT/x", "/other.example.test:PORT/x"),
        ("https://elsewhere.test/x", "https://elsewhere.test/x"),
        ("//elsewhere.test/x", "//elsewhere.test/x"),
        ("relative", "relative"),
    ],
)
async def test_a_redirect_stays_on_the_listener(bound, location, told):
    port = str(bound.provider.port)
    raw = f"HTTP/1.1 302 Found\r\nLocation: {location.replace('PORT', port)}\r\nContent-Length: 0\r\n\r\n"
    bound.provider.answers("/moved", raw.encode())
    answer = await get(bound, "/example/moved")
    assert answer.headers["location"] == told.replace("PORT", port)


async def test_a_websocket_opens_below_a_base_url(bound):
    bound.provider.on("/socket", talking("authorization", f"Bearer {KEY}", before=f"{KEY} says "))
    async with open_websocket(f"ws://{bound.sidecar.endpoints[1]}/example/socket", proxy=None) as socket:
        await socket.send("hello")
        assert await socket.recv() == f"{bound.stand_in()} says hello"


@pytest.mark.parametrize(
    "raw",
    [
        b"GET http://api.example.test/x HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
        b"CONNECT api.example.test:443 HTTP/1.1\r\nHost: api.example.test:443\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /example/x HTTP/1.1\r\n\r\n",
        b"GET /example/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello\r\n\r\n",
    ],
)
async def test_p8_what_is_no_path_is_refused(bound, raw):
    host, _, port = bound.sidecar.endpoints[1].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(raw)
    answer = await read_answer(reader)
    assert 400 <= answer.status < 500
    assert not bound.provider.requests
    writer.close()
