"""Budgets and rates, through the real proxy: K-01, K-02, K-06 and K-10, as the names of the tests say."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from proxy.approval.states import Vote
from proxy.db.engine import DATABASE, open_database
from proxy.db.tables import budget_counters, budget_holds
from tests.metering.conftest import metered

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
REQUESTS = {"name": "calls", "unit": "requests", "limit": 3}


async def sums(rig: Rig) -> tuple[int, int]:
    """Used and held, once nothing is held any more."""
    database = open_database(rig.home / DATABASE)
    try:
        async with asyncio.timeout(10):
            while True:
                with database.connect() as connection:
                    used, held = connection.execute(
                        select(func.sum(budget_counters.c.used), func.sum(budget_counters.c.held))
                    ).one()
                    holds = connection.execute(select(func.count()).select_from(budget_holds)).scalar_one()
                if not holds:
                    return int(used or 0), int(held or 0)
                await asyncio.sleep(0.02)
    finally:
        database.dispose()


async def test_k_01_p10_many_at_once_never_pass_a_limit(tmp_path: Path) -> None:
    async with metered(tmp_path, {**REQUESTS, "limit": 10}) as rig, rig.client() as client:
        answers = await asyncio.gather(*(client.get(f"/{number}") for number in range(60)))
        assert sorted({answer.status_code for answer in answers}) == [200, 429]
        assert len(rig.provider.requests) == 10
        refused = next(answer for answer in answers if answer.status_code == 429)
        told = refused.json()
        assert (told["budget"], told["unit"], told["left"]) == ("calls", "requests", 0)
        assert int(refused.headers["retry-after"]) > 0
        assert await sums(rig) == (10, 0)
        calls = await rig.settled(60)
        allowed = [call for call in calls if call.decision["decision"] == "allow"]
        assert {call.decision["reserved"] for call in allowed} == {"requests=1"}
        assert {(call.outcome or {})["used"] for call in allowed} == {"requests=1"}
        assert {call.decision["denied_by"] for call in calls if call not in allowed} == {"reserve"}


async def test_k_06_what_was_never_sent_is_given_back(tmp_path: Path) -> None:
    async with metered(tmp_path, REQUESTS) as rig:
        await rig.provider.stop()
        for _ in range(5):
            assert (await rig.call("GET", "/x")).problem == "upstream_unreachable"
        assert await sums(rig) == (0, 0)


async def test_k_06_who_hangs_up_after_it_was_sent_pays(tmp_path: Path) -> None:
    arrived = asyncio.Event()

    async def never(*_: Any) -> None:
        arrived.set()
        await asyncio.Event().wait()

    async with metered(tmp_path, REQUESTS) as rig:
        rig.provider.on("/never", never)
        _, writer = await rig.tls()
        writer.write(f"GET /never HTTP/1.1\r\nHost: api.example.test:{rig.provider.port}\r\n\r\n".encode())
        await asyncio.wait_for(arrived.wait(), 10)
        writer.close()
        assert await sums(rig) == (1, 0)


async def test_rates_let_a_burst_through_and_then_say_when(tmp_path: Path) -> None:
    rate = {"name": "slow", "calls": 1, "per_s": 60, "burst": 2}
    async with metered(tmp_path, rates=[rate]) as rig:
        answers = [await rig.call("GET", "/x") for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert answers[2].problem == "rate_limited"
        assert 50 < int(answers[2].headers["retry-after"]) <= 60


@pytest.mark.parametrize(
    "budget",
    [
        {**REQUESTS, "limit": 1, "over": "approval"},
        {**REQUESTS, "limit": 4, "soft": [{"at": 0.25, "then": "approval"}]},
    ],
)
async def test_p9_beyond_a_limit_a_person_says_yes_once(tmp_path: Path, budget: dict[str, Any]) -> None:
    async with metered(tmp_path, budget) as rig:
        assert (await rig.call("POST", "/x", content=b"1")).status == 200
        asked = await rig.call("POST", "/x", content=b"2")
        assert (asked.status, asked.problem) == (403, "approval_required")
        id_ = asked.json()["approval_id"]
        card = rig.sidecar.approvals.store.card(id_)
        assert card is not None
        assert [reason["code"] for reason in card["reasons"]] == ["budget:calls"]
        assert card["body"] == "2"
        await rig.sidecar.approvals.vote(id_, Vote("ann", yes=True))
        assert (await rig.call("POST", "/x", content=b"2")).status == 200
        assert (await rig.call("POST", "/x", content=b"2")).problem == "approval_required"
        assert len(rig.provider.requests) == 2
        assert await sums(rig) == (2, 0)


async def test_a_soft_limit_warns_in_the_receipt(tmp_path: Path) -> None:
    async with metered(tmp_path, {**REQUESTS, "soft": [{"at": 0.5, "then": "warn"}]}) as rig:
        for _ in range(2):
            await rig.call("GET", "/x")
        found = [call.decision["budget_warnings"] for call in await rig.settled(2)]
        assert sorted(map(str, found)) == ["None", "calls"]


async def test_k_02_without_the_store_nothing_is_sent(tmp_path: Path) -> None:
    async with metered(tmp_path, REQUESTS) as rig:
        database = open_database(rig.home / DATABASE)
        with database.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE budget_counters RENAME TO gone")
        answer = await rig.call("GET", "/x")
        assert (answer.status, answer.problem) == (503, "budget_unavailable")
        assert rig.provider.requests == []
        with database.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE gone RENAME TO budget_counters")
        database.dispose()


async def test_k_10_bytes_are_cut_where_the_reserve_ends(tmp_path: Path) -> None:
    body = b"x" * (17 * 1024 * 1024)
    budget = {"name": "bytes", "unit": "bytes", "limit": 20_000_000}
    async with metered(tmp_path, budget) as rig:
        rig.provider.answers("/big", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        with pytest.raises(Exception):  # noqa: B017  # the connection is reset within the answer
            await rig.call("GET", "/big")
        used, held = await sums(rig)
        assert (used, held) == (16 * 1024 * 1024, 0)
        assert (await rig.call("GET", "/big")).problem == "budget_exceeded"
