"""P6, P7: agents that ask, leave and ask again cost the token endpoint no more than one that waits."""

from __future__ import annotations

import asyncio
import contextlib
from typing import ClassVar

import pytest

from proxy.credentials.broker import BACK_OFF_S
from proxy.credentials.grants import Grants
from proxy.credentials.kind import Credential, Kind
from proxy.credentials.memory import MAX_OLD_BYTES, MAX_OLD_VALUES
from proxy.credentials.order import Order
from proxy.credentials.under_way import UnderWay
from proxy.errors import Refused
from proxy.model import AccountId
from proxy.secret import Secret
from tests.credentials.oauth.conftest import SECRET
from tests.fakes.token_server import dumps


class ForOneRequest(Kind):
    """Each credential may be presented once."""

    mints: ClassVar[bool] = True

    def mint(self, given):
        yield from ()
        return Credential({"token": Secret("token", "good-for-one-request")}, max_uses=1)


async def leave_again(rig, count):
    """So many agents ask, and none of them waits."""
    for _ in range(count):
        asking = asyncio.ensure_future(rig.broker.mint(rig.order))
        while not rig.broker._minting:
            await asyncio.sleep(0)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking


async def test_p7_whoever_asks_and_leaves_does_not_make_a_failing_endpoint_be_asked_more_often(refreshing, server):
    rig = refreshing()
    server.delay_s, server.script = 0.05, [(500, {}, b"")] * 20
    await leave_again(rig, 10)
    with pytest.raises(Refused):
        await rig.broker.mint(rig.order)
    async with asyncio.timeout(10):
        while rig.broker._minting:
            await asyncio.sleep(0.01)
    assert len(server.forms) == 1


async def test_p10_no_two_requests_get_what_is_good_for_one(refreshing):
    rig = refreshing()
    order, together = Order(AccountId("api", "main"), "once", ForOneRequest(), {}), asyncio.Barrier(40)

    async def one(turns):
        await together.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        return await rig.broker.mint(order)

    given = await asyncio.gather(*(one(turns) for turns in range(40)))
    assert len({id(credential) for credential in given}) == 40


async def test_p5_an_account_that_fails_for_days_still_fails_for_the_same_reason(refreshing):
    rig = refreshing(grant="authorization_code")
    for _ in range(2):
        with pytest.raises(Refused):
            await rig.token()
    with pytest.raises(Refused):
        await rig.broker.mint(rig.order)
    failure = rig.broker._failures[rig.order.key]
    failure.count, failure.until_s = 5000, 0.0
    with pytest.raises(Refused) as refused:
        await rig.broker.mint(rig.order)
    assert refused.value.denial.slug == "not_connected"


class Broken(Grants):
    """The database is gone once the provider has answered, or something has a fault."""

    fault: ClassVar[Exception] = RuntimeError("a fault")

    def release(self, *_args, **_more):
        raise self.fault


async def test_p7_a_fault_of_ours_does_not_let_every_request_ask_the_provider(refreshing, server):
    rig = refreshing()
    rig.grants.__class__ = Broken
    server.script = [(500, {}, dumps({"error": "server_error"}))] * 5
    for _ in range(5):
        with pytest.raises(Refused) as refused:
            await rig.broker.mint(rig.order)
        assert refused.value.denial.slug == "credential_unavailable"
    assert len(server.forms) == 1
    assert rig.broker._failures[rig.order.key].until_s - rig.clock.monotonic_s() <= BACK_OFF_S * 1.2


async def test_work_from_something_else_waits_its_turn_and_an_end_of_the_process_ends_the_waiting():
    running = []
    under_way = UnderWay(lambda work: running.append(asyncio.ensure_future(work)))
    order, go = [], asyncio.Event()

    async def work(name):
        order.append(f"{name} begins")
        await go.wait()
        order.append(f"{name} ends")
        return name

    first = under_way.begin("key", "old", lambda: work("old"))
    again = under_way.begin("key", "old", lambda: work("never"))
    second = under_way.begin("key", "new", lambda: work("new"))
    assert first is again
    await asyncio.sleep(0)
    go.set()
    assert (await second, await first) == ("new", "old")
    assert order == ["old begins", "old ends", "new begins", "new ends"]
    assert not under_way
    go.clear()
    waiting = asyncio.ensure_future(under_way.wait("key", "last", lambda: work("last")))
    while order[-1] != "last begins":
        await asyncio.sleep(0)
    running[-1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not under_way


async def test_p7_a_server_that_gives_its_tokens_ever_new_names_fills_no_memory(refreshing, server):
    rig = refreshing()
    for turn in range(3):
        names = (f"token_{turn}_a", f"secret_{turn}_b", "client_secret", "subject")
        server.extra = {name: f"value-{name}-{turn}" for name in names}
        await rig.token()
        assert {f"value-token_{turn}_a-{turn}".encode(), f"value-client_secret-{turn}".encode()} <= looked_for(rig)
        rig.clock.offset_ms += 3_600_000
    slots = {slot.name: slot.values for slot in rig.broker._memory._slots.values()}
    assert slots.keys() == {
        "access_token",
        "client_secret",
        "refresh_token",
        *(f"further token {n}" for n in (1, 2, 3)),
    }
    assert slots["client_secret"] == [Secret("x", SECRET)]
    server.extra = {f"token_{n}": f"value-number-{n}" for n in range(17)}
    with pytest.raises(Refused):
        await rig.token()


def looked_for(rig):
    return rig.broker._memory.vocabulary("one").keys()


async def test_p7_a_server_that_gives_ever_new_long_tokens_does_not_make_searching_for_them_dear(refreshing, server):
    rig = refreshing()
    for turn in range(4):
        server.extra = {"id_token": f"{turn:04d}" * 2000, "device_secret": f"{turn:05d}" * 800}
        await rig.token()
        assert {f"{turn:04d}".encode() * 2000, f"{turn:05d}".encode() * 800} <= looked_for(rig)
        rig.clock.offset_ms += 3_600_000
    assert sum(map(len, looked_for(rig))) <= MAX_OLD_BYTES + 13_000
    server.extra = {f"token_{n}": "x" * 16_000 for n in range(3)}
    with pytest.raises(Refused):
        await rig.token()


class ForAnAgent(Kind):
    """Each agent has tokens of its own, which live for a second or for ever."""

    mints: ClassVar[bool] = True
    per_agent: ClassVar[bool] = True
    name: str = ""
    lives: bool = True

    def mint(self, given):
        yield from ()
        token = Secret("token", f"token-{self.name}-{given.agent}-{given.now_s}")
        return Credential({"token": token}, expires_at_s=None if self.lives else given.now_s + 1)


async def test_p1_p6_tokens_of_others_do_not_push_one_that_is_used_out_of_what_is_looked_for(refreshing):
    rig, account = refreshing(), AccountId("api", "main")

    async def mint(agent, **fields):
        kind = ForAnAgent(**fields)
        minted = await rig.broker.mint(Order(account, kind.name or "x", kind, {}, agent=agent))
        return minted.secrets["token"].reveal()

    first = await mint("one")
    for number in range(MAX_OLD_VALUES + 3):
        await mint(f"agent-{number}")
    assert first in looked_for(rig), "other agents"
    for _ in range(MAX_OLD_VALUES + 3):
        await mint("one", name="other", lives=False)
        rig.clock.offset_ms += 2000
    assert await mint("one") == first
    assert first in looked_for(rig), "another credential of the same account"
