"""K-01, K-03 and K-04: several processes with one store, and clocks that do not agree."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from proxy.budget.service import Budgets
from proxy.clock import SystemClock
from proxy.db.engine import open_database
from proxy.db.shared import open_shared
from proxy.errors import Refused
from proxy.secret import Secret
from proxy.settings import SharedDatabase
from tests.approval.conftest import database, hands, server  # noqa: F401  # fixtures
from tests.budget.test_ledger import book, plan  # noqa: F401  # a fixture
from tests.rig.postgres import PASSWORD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sqlalchemy import Engine

    from tests.budget.test_ledger import Book

MIDNIGHT_MS = 1_764_115_200_000


class Skewed(SystemClock):
    """A clock that goes wrong by `ms`."""

    def __init__(self, ms: int) -> None:
        self.ms = ms

    def wall_ms(self) -> int:
        return super().wall_ms() + self.ms


@asynccontextmanager
async def replicas(opened: Callable[[], Engine], *skews_ms: int) -> AsyncIterator[list[tuple[Budgets, Skewed]]]:
    """Services with an engine and a clock each."""
    made = [(opened(), Skewed(skew)) for skew in skews_ms]
    running = [(Budgets(engine, owner=str(n), clock=clock), clock) for n, (engine, clock) in enumerate(made)]
    try:
        yield running
    finally:
        for service, _ in running:
            await service.close()
        for engine, _ in made:
            engine.dispose()


async def asked(running: list[tuple[Budgets, Skewed]], times: int, **budget: object) -> list[str]:
    """What every replica says that often, all at once."""

    async def ask(service: Budgets, clock: Skewed, id_: str) -> str:
        try:
            await service.reserve(id_, plan({"name": "b", **budget}, now_ms=clock.wall_ms()))
        except Refused as refused:
            return refused.denial.slug
        return "reserved"

    return await asyncio.gather(
        *(ask(*one, f"{n}-{number}") for n, one in enumerate(running) for number in range(times))
    )


async def test_three_processes_share_one_amount(tmp_path: Path) -> None:
    """K-01, K-03: whoever asks, together they get what there is."""
    open_database(tmp_path / "b.db").dispose()
    async with replicas(lambda: open_database(tmp_path / "b.db"), 0, 0, 0) as running:
        said = await asked(running, 60, limit=100, window="lifetime")
        assert (said.count("reserved"), said.count("budget_exceeded")) == (100, 80)


def test_the_window_is_that_of_the_stores_clock(book: Book) -> None:  # noqa: F811
    """K-04: a replica whose clock is ahead at the edge of a window gets no second amount."""
    book.clock.wall = MIDNIGHT_MS - 1000
    daily = {"name": "b", "limit": 1, "window": "day"}
    behind, ahead = (plan(daily, now_ms=book.clock.wall + skew) for skew in (-900, 1900))
    assert type(book.take("1", behind)).__name__ == "Reserved"
    assert type(book.take("2", ahead)).__name__ == "Exhausted"
    book.clock.wall = MIDNIGHT_MS
    assert type(book.take("3", behind)).__name__ == "Reserved"
    assert type(book.take("4", ahead)).__name__ == "Exhausted"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("skews_ms", "wanted"),
    [
        ((-1400, 1400), {"reserved": 5, "budget_exceeded": 35}),  # each would see a window without the other
        ((30_000, -30_000), {"budget_unavailable": 40}),
        ((0, 30_000), {"reserved": 5, "budget_exceeded": 15, "budget_unavailable": 20}),
    ],
)
async def test_replicas_whose_clocks_differ_never_get_more(
    server: object,  # noqa: F811
    skews_ms: tuple[int, ...],
    wanted: dict[str, int],
) -> None:
    """K-04: windows go by the clock of the database; a replica that differs by more than two seconds is refused."""

    def opened() -> Engine:
        settings = SharedDatabase(host="localhost", port=server.port, ca_bundle=server.ca)  # type: ignore[attr-defined]
        return open_shared(settings, Secret("password", PASSWORD.encode()))

    engine = opened()
    with engine.begin() as connection:
        for table in ("budget_holds", "budget_counters", "budget_rates"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    engine.dispose()
    async with replicas(opened, *skews_ms) as running:
        said = await asked(running, 20, limit=5, window=2)
        assert {slug: said.count(slug) for slug in set(said)} == wanted
