"""H-07: one connection has one identity, whatever is sent on it: two tenants, HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.control.tenancy import BLUE, GOLD, tenancy
from tests.rig.raw import read_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
NAMES = ("Proxy-Authorization", "X-Agent-Id", "X-Tenant")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with tenancy(tmp_path_factory.mktemp("one")) as rig:
        yield rig


@pytest.mark.parametrize("http2", [False, True])
async def test_h_07_within_a_tunnel_the_connect_says_who_asks(rig: Rig, http2: bool) -> None:
    """H-07: another agent's token inside is not looked at, and does not reach the provider; nor do streams mix."""
    known = len(await rig.receipts())
    async with rig.client("coder", http2=http2) as client:
        theirs = f"Bearer {rig.tokens['rival']}"
        given = [{}, dict.fromkeys(NAMES, theirs), {"Proxy-Authorization": f"Bearer {rig.tokens['coder']}"}, {}]
        answers = await asyncio.gather(*(client.get("/x", headers=headers) for headers in given))
    assert {answer.status_code for answer in answers} == {200}
    seen = rig.provider.requests[-4:]
    assert {one.one("authorization") for one in seen} == {f"Bearer {GOLD}"}
    assert not any(b"proxy-authorization" in one.head.lower() for one in seen)
    calls = (await rig.settled(known + 4))[known:]
    assert {(c.decision["agent"], c.decision["tenant"]) for c in calls} == {("coder", "acme")}


async def test_h_07_two_agents_at_once_keep_apart(rig: Rig) -> None:
    """H-07: interleaved calls of two tenants, each over one HTTP/2 connection."""
    async with rig.client("coder", http2=True) as coder, rig.client("rival", http2=True) as rival:
        for _ in range(3):
            await asyncio.gather(*(client.get("/x") for client in (coder, rival) for _ in range(3)))
    keys = [one.one("authorization") for one in rig.provider.requests[-18:]]
    assert {key: keys.count(key) for key in keys} == {f"Bearer {GOLD}": 9, f"Bearer {BLUE}": 9}
    connections = {(one.connection, one.one("authorization")) for one in rig.provider.requests[-18:]}
    assert len({number for number, _ in connections}) == len(connections)  # none carried both


async def test_h_07_a_second_connect_inside_a_tunnel_makes_nobody_else(rig: Rig) -> None:
    """H-07: nested CONNECT with another agent's token is refused."""
    reader, writer = await rig.tls(agent="coder")
    target = f"api.example.test:{rig.provider.port}"
    writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{rig.credentials('rival')}\r\n".encode())
    assert (await read_answer(reader)).status in (400, 405)
    writer.close()
