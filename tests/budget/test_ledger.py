"""P10: what is reserved and used together never passes a limit. On SQLite and on PostgreSQL.

K-01, K-02, K-04, K-07 and K-08, on the ledger itself; each test's name says which.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from proxy.budget import ledger
from proxy.budget.limits import Exhausted, Plan, Reserved, Subject, planned
from proxy.budget.service import Budgets
from proxy.budget_settings import Budget, Rate
from proxy.clock import SystemClock
from proxy.db.engine import open_database, writing
from proxy.db.tables import budget_counters, budget_holds
from proxy.errors import Refused
from tests.approval.conftest import database, hands, server  # noqa: F401  # fixtures
from tests.approval.hands import Hands
from tests.budget.hammer import LIMIT

if TYPE_CHECKING:
    from sqlalchemy import Engine

CALL = Subject("acme", "coder", "github/work", "github", "github", "github:issues.create", "write")


def plan(
    *budgets: dict[str, Any],
    rates: tuple[dict[str, Any], ...] = (),
    most: dict[str, int] | None = None,
    now_ms: int,
    calls: int = 1,
) -> Plan:
    made = [Budget.model_validate_json(orjson.dumps({"unit": "requests", **one})) for one in budgets]
    return planned(
        made,
        [Rate.model_validate_json(orjson.dumps(one)) for one in rates],
        CALL,
        most or {},
        now_ms=now_ms,
        calls=calls,
    )


class Book:
    """A ledger with a clock that tests move."""

    def __init__(self, engine: Engine, clock: Hands) -> None:
        self.engine, self.clock = engine, clock

    def take(self, id_: str, wanted: Plan, owner: str = "one") -> Reserved | Exhausted:
        with writing(self.engine) as connection:
            return ledger.reserve(connection, id_, wanted, owner=owner, now_ms=self.clock.wall)

    def settle(self, id_: str, used: dict[str, int]) -> bool:
        with writing(self.engine) as connection:
            return ledger.settle(connection, id_, used)

    def release(self, id_: str) -> bool:
        with writing(self.engine) as connection:
            return ledger.release(connection, id_)

    def sums(self) -> tuple[int, int]:
        """What is used, and what is held."""
        with self.engine.connect() as connection:
            rows = connection.execute(select(budget_counters.c.used, budget_counters.c.held)).all()
        return sum(used for used, _ in rows), sum(held for _, held in rows)


@pytest.fixture
def book(database: Engine, hands: Hands) -> Book:  # noqa: F811
    with database.begin() as connection:
        for table in ("budget_holds", "budget_counters", "budget_rates"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    return Book(database, hands)


def test_p10_nothing_is_taken_beyond_a_limit(book: Book) -> None:
    wanted = plan({"name": "b", "limit": 3}, now_ms=book.clock.wall)
    taken = [book.take(str(number), wanted) for number in range(5)]
    assert [isinstance(one, Reserved) for one in taken] == [True, True, True, False, False]
    assert isinstance(taken[4], Exhausted)
    assert (taken[4].name, taken[4].left) == ("b", 0)
    assert book.sums() == (0, 3)
    assert book.settle("0", {})
    assert book.release("1")
    assert book.sums() == (1, 1)
    assert isinstance(book.take("6", wanted), Reserved)


def test_k_07_a_hold_ends_once(book: Book) -> None:
    book.take("1", plan({"name": "b", "limit": 3}, now_ms=book.clock.wall))
    assert book.settle("1", {"requests": 1})
    assert not book.settle("1", {"requests": 1})
    assert not book.release("1")
    assert book.sums() == (1, 0)


def test_all_limits_or_none(book: Book) -> None:
    wanted = plan({"name": "wide", "limit": 9}, {"name": "narrow", "limit": 0}, now_ms=book.clock.wall)
    found = book.take("1", wanted)
    assert isinstance(found, Exhausted)
    assert found.name == "narrow"
    assert book.sums() == (0, 0)


def test_k_08_what_is_not_known_counts_as_reserved(book: Book) -> None:
    wanted = plan(
        {"name": "b", "unit": "output_tokens", "limit": 100}, most={"output_tokens": 40}, now_ms=book.clock.wall
    )
    for id_, used in (("1", {"output_tokens": 10}), ("2", {}), ("3", {"output_tokens": -5})):
        book.take(id_, wanted)
        book.settle(id_, used)
    assert book.sums() == (50, 0)


def test_a_window_that_is_over_counts_no_more(book: Book) -> None:
    daily = {"name": "b", "limit": 1, "window": "day"}
    assert isinstance(book.take("1", plan(daily, now_ms=book.clock.wall)), Reserved)
    refused = book.take("2", plan(daily, now_ms=book.clock.wall))
    assert isinstance(refused, Exhausted)
    assert refused.resets_at_ms == book.clock.wall + 86_400_000
    book.clock.forward(86_400)
    assert isinstance(book.take("3", plan(daily, now_ms=book.clock.wall)), Reserved)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 40), min_size=1, max_size=30))
def test_k_04_in_no_sliding_window_is_more_used_than_allowed(book: Book, pauses: list[int]) -> None:
    with book.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM budget_holds")
        connection.exec_driver_sql("DELETE FROM budget_counters")
    sliding, taken = {"name": "b", "limit": 3, "window": 60}, []
    for number, pause in enumerate(pauses):
        book.clock.forward(pause)
        if isinstance(book.take(str(number), plan(sliding, now_ms=book.clock.wall)), Reserved):
            taken.append(book.clock.wall)
    for moment in taken:
        assert sum(moment <= other < moment + 60_000 for other in taken) <= 3


def test_rates_let_a_burst_through_then_one_at_a_time(book: Book) -> None:
    def call(id_: str) -> Reserved | Exhausted:
        rates = ({"name": "r", "calls": 6, "per_s": 60, "burst": 3},)
        return book.take(id_, plan(rates=rates, now_ms=book.clock.wall))

    burst = [call(str(number)) for number in range(4)]
    assert [isinstance(one, Reserved) for one in burst] == [True, True, True, False]
    assert isinstance(burst[3], Exhausted)
    assert burst[3].resets_at_ms == book.clock.wall + 10_000
    book.clock.forward(9.9)
    assert isinstance(call("5"), Exhausted)
    book.clock.forward(0.1)
    assert isinstance(call("6"), Reserved)
    assert isinstance(call("7"), Exhausted)


def test_soft_limits_and_limits_that_ask(book: Book) -> None:
    soft = [{"at": 0.5, "then": "warn"}, {"at": 0.7, "then": "approval"}]
    wanted = plan({"name": "b", "limit": 4, "soft": soft, "over": "approval"}, now_ms=book.clock.wall)
    found = [book.take(str(number), wanted) for number in range(5)]
    assert all(isinstance(one, Reserved) for one in found)
    assert [(one.warnings, one.asks) for one in found if isinstance(one, Reserved)] == [
        ((), ()), ((), ()), (("b",), ("b",)), (("b",), ("b",)), (("b",), ("b",)),
    ]  # fmt: skip


def test_k_07_what_a_dead_process_left_is_settled_as_reserved(book: Book) -> None:
    wanted = plan({"name": "b", "limit": 9}, now_ms=book.clock.wall)
    book.take("dead", wanted, owner="dead")
    book.take("alive", wanted, owner="alive")
    book.clock.forward(ledger.HOLD_S - 1)
    with writing(book.engine) as connection:
        ledger.renew(connection, "alive", now_ms=book.clock.wall)
        assert ledger.sweep(connection, now_ms=book.clock.wall) == ()
    book.clock.forward(1)
    with writing(book.engine) as connection:
        assert ledger.sweep(connection, now_ms=book.clock.wall) == ("dead",)
    assert book.sums() == (1, 1)


def test_k_01_many_at_once_never_overshoot(book: Book) -> None:
    wanted = plan({"name": "b", "limit": 25}, {"name": "c", "limit": 30, "each": ["agent"]}, now_ms=book.clock.wall)

    def take(number: int) -> bool:
        with writing(book.engine) as connection:
            ledger.begin(connection, SystemClock())
            return isinstance(
                ledger.reserve(connection, str(number), wanted, owner="one", now_ms=book.clock.wall), Reserved
            )

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(take, range(100))) == 25
    assert book.sums() == (0, 50)


class TestService:
    """The thread that writes."""

    async def test_k_01_many_requests_together(self, tmp_path: Path) -> None:
        budgets = Budgets(open_database(tmp_path / "b.db"), owner="one", clock=SystemClock())
        wanted = plan({"name": "b", "limit": 100, "window": "lifetime"}, now_ms=0)

        async def call(number: int) -> bool:
            try:
                await budgets.reserve(str(number), wanted)
            except Refused as refused:
                slugs.add(refused.denial.slug)
                return False
            budgets.settle(str(number), {})
            return True

        slugs: set[str] = set()
        assert sum(await asyncio.gather(*map(call, range(500)))) == 100
        assert slugs == {"budget_exceeded"}
        await budgets.close()

    async def test_p5_k_02_without_the_database_nothing_is_allowed(self, tmp_path: Path) -> None:
        engine = open_database(tmp_path / "b.db")
        budgets = Budgets(engine, owner="one", clock=SystemClock())
        wanted = plan({"name": "b", "limit": 100}, now_ms=0)
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE budget_counters RENAME TO away")
        with pytest.raises(Refused) as caught:
            await budgets.reserve("1", wanted)
        assert caught.value.denial.slug == "budget_unavailable"
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO budget_counters")
        await budgets.reserve("2", wanted)
        budgets.settle("2", {})
        await budgets.close()
        with engine.connect() as connection:
            assert connection.execute(select(budget_counters.c.used, budget_counters.c.held)).all() == [(1, 0)]
            assert connection.execute(select(budget_holds)).all() == []

    async def test_k_05_an_amount_that_no_column_holds_is_refused_and_stops_nobody_else(self, tmp_path: Path) -> None:
        clock = SystemClock()
        budgets = Budgets(open_database(tmp_path / "b.db"), owner="one", clock=clock)
        money = {"name": "m", "unit": "usd", "limit": "9.00", "over": "approval"}
        with pytest.raises(Refused) as refused:
            await budgets.reserve("1", plan(money, most={"usd": 2**70}, now_ms=clock.wall_ms()))
        assert refused.value.denial.slug == "budget_unavailable"
        assert (await budgets.reserve("2", plan(money, most={"usd": 1}, now_ms=clock.wall_ms()))).asks == ()
        await budgets.close()

    async def test_p10_k_04_a_clock_that_was_wrong_for_a_time_gives_no_fresh_budget(self, book: Book) -> None:
        clock, days = book.clock, 86_400_000
        budgets = {"name": "b", "limit": 1, "window": "month"}, {"name": "s", "limit": 9, "window": 31 * 86_400}
        rate = {"name": "r", "calls": 1, "per_s": 86_400, "burst": 1}

        def swept(owner: Budgets) -> None:
            with writing(book.engine) as connection:
                owner._forget(connection, clock.wall)

        def spent() -> str | None:
            found = book.take("2", plan(*budgets, rates=(rate,), now_ms=clock.wall))
            return found.name if isinstance(found, Exhausted) else None

        running = Budgets(book.engine, owner="one", clock=clock)
        assert isinstance(book.take("1", plan(*budgets, rates=(rate,), now_ms=clock.wall)), Reserved)
        book.settle("1", {})
        for wrong in (100 * days, 40_000 * days):
            clock.wall += wrong
            for _ in range(3):
                swept(running)
                clock.forward(3600)
            begun = Budgets(book.engine, owner="two", clock=clock)  # which knows no other time
            swept(begun)
            await begun.close()
            clock.wall -= wrong
            assert spent() == "r"
        clock.forward(86_400)
        assert spent() == "b"

        for _ in range(64):  # what is old by any clock is forgotten
            clock.forward(86_400)
            swept(running)
        assert book.sums() == (0, 0)
        await running.close()

    async def test_p7_k_04_a_clock_that_began_in_1970_does_not_keep_counters_for_ever(self, book: Book) -> None:
        """As of a board without a battery, until it is told the time."""
        clock = book.clock
        running, now_ms = Budgets(book.engine, owner="one", clock=clock), clock.wall
        budget = {"name": "b", "limit": 9, "window": "day"}

        def swept() -> None:
            with writing(book.engine) as connection:
                running._forget(connection, clock.wall)

        for wrong in (False, True, False):
            clock.wall = 40 * 86_400_000 if wrong else now_ms
            assert isinstance(book.take("1", plan(budget, now_ms=clock.wall)), Reserved)
            book.settle("1", {})
            for _ in range(2):
                clock.forward(60)
                swept()
        for _ in range(130):
            clock.forward(86_400)
            swept()
        assert book.sums() == (0, 0)
        await running.close()

    async def test_a_call_that_no_limit_covers_waits_for_nothing(self, tmp_path: Path) -> None:
        budgets = Budgets(open_database(tmp_path / "b.db"), owner="one", clock=SystemClock())
        assert (await budgets.reserve("1", Plan())).warnings == ()
        await budgets.close()


@pytest.mark.slow
def test_p10_k_01_ten_thousand_requests_in_three_processes_with_kills(tmp_path: Path) -> None:
    """K-01, K-07: 10,200 requests, nine kills: what is used and held together is the limit, and no more was sent."""
    path, sent = tmp_path / "b.db", tmp_path / "sent"
    open_database(path).dispose()
    sent.touch()

    def start(number: int) -> subprocess.Popen[bytes]:
        arguments = (str(path), f"p{number}", "3400", str(sent))
        return subprocess.Popen(
            [sys.executable, "-m", "tests.budget.hammer", *arguments], cwd=Path(__file__).parents[2]
        )

    running = [start(number) for number in range(3)]
    for number in range(3, 12):  # one after the other is killed, and another takes its place
        victim = running[number % 3]
        with contextlib.suppress(subprocess.TimeoutExpired):
            victim.wait(2.5)
        victim.kill()
        victim.wait()
        running[number % 3] = start(number)
    assert [process.wait(240) for process in running] == [0, 0, 0]
    engine = open_database(path)
    with engine.connect() as connection:
        used, held = connection.execute(select(budget_counters.c.used, budget_counters.c.held)).one()
    assert 0 < sent.stat().st_size <= used + held
    assert used + held == LIMIT  # all of it was asked for many times over, and no more was given


def test_k_07_holds_of_the_dead_count_as_used_at_once(book: Book) -> None:
    wanted = plan({"name": "b", "limit": 9}, now_ms=book.clock.wall)
    for owner in ("dead/1", "dead/2", "alive/1"):
        book.take(owner, wanted, owner=owner)
    with writing(book.engine) as connection:
        assert set(ledger.bury(connection, lambda owner: owner.startswith("dead/"))) == {"dead/1", "dead/2"}
    assert book.sums() == (2, 1)
