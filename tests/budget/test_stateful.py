"""P10: reserving, settling, giving back, dying, in any order and whatever the clock does: always as the oracle says.

The oracle knows nothing of buckets: it keeps every reservation with the moment at which it was made, and adds up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from proxy.budget import ledger
from proxy.budget.limits import Exhausted
from proxy.budget.service import CATCH_UP
from proxy.db.engine import writing
from tests.approval.conftest import database, hands, server  # noqa: F401  # fixtures
from tests.approval.hands import Hands
from tests.budget.test_ledger import Book, plan

if TYPE_CHECKING:
    from sqlalchemy import Engine

MINUTE, HOUR = 60, 3600
SLIDING = {"name": "sliding", "limit": 10, "window": MINUTE}
CALENDAR = {"name": "calendar", "limit": 15, "window": "hour"}
LIFETIME = {"name": "lifetime", "limit": 120, "window": "lifetime"}
SLICE_MS = MINUTE * 1000 // 60
OWNERS = ("one", "two")
OWNER = st.sampled_from(OWNERS)


@dataclass
class Taken:
    """One reservation; `used` is what it counts now, None where it was given back."""

    at_ms: int
    owner: str
    used: int | None
    until_ms: int
    open: bool = True


class Machine(RuleBasedStateMachine):
    """`limits` are charged together, each for the same amount of requests."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        with engine.begin() as connection:
            for table in ("budget_holds", "budget_counters", "budget_rates"):
                connection.exec_driver_sql(f"DELETE FROM {table}")
        self.clock = Hands()
        self.book = Book(engine, self.clock)
        self.taken: list[Taken] = []
        self.forgot = False
        self.told: tuple[int, float] | None = None

    # -- what happens

    @rule(owner=OWNER, amounts=st.lists(st.integers(0, 6), min_size=1, max_size=5))
    def reserve(self, owner: str, amounts: list[int]) -> None:
        for amount in amounts:
            self.reserve_one(owner, amount)

    def reserve_one(self, owner: str, amount: int) -> None:
        now_ms, id_ = self.clock.wall, str(len(self.taken))
        wanted = plan(SLIDING, CALENDAR, LIFETIME, now_ms=now_ms, calls=amount)
        found = self.book.take(id_, wanted, owner)
        sums = {"sliding": self.within(now_ms), "calendar": self.this_hour(now_ms), "lifetime": self.ever()}
        fits = {name: sums[name] + amount <= one["limit"] for name, one in LIMITS.items()}
        if isinstance(found, Exhausted):
            fits["sliding"] = self.within(now_ms, SLICE_MS) + amount <= SLIDING["limit"]
            assert not fits[found.name]
            self.taken.append(Taken(now_ms, owner, None, 0, open=False))
        else:
            assert all(fits.values())
            self.taken.append(Taken(now_ms, owner, amount, now_ms + ledger.HOLD_S * 1000))

    def picked(self, pick: int) -> tuple[int, Taken]:
        """One that is open, where there is one and `pick` is even: others end a second time."""
        there = [(n, one) for n, one in enumerate(self.taken) if one.open or pick % 2] or [*enumerate(self.taken)]
        return there[pick % len(there)]

    @rule(pick=st.integers(0, 1000), used=st.none() | st.integers(0, 9))
    @precondition(lambda self: self.taken)
    def settle(self, pick: int, used: int | None) -> None:
        index, one = self.picked(pick)
        assert self.book.settle(str(index), {} if used is None else {"requests": used}) == one.open
        if one.open and used is not None:
            assert one.used is not None
            one.used = min(one.used, used)
        one.open = False

    @rule(pick=st.integers(0, 1000))
    @precondition(lambda self: self.taken)
    def give_back(self, pick: int) -> None:
        index, one = self.picked(pick)
        assert self.book.release(str(index)) == one.open
        if one.open:
            one.open, one.used = False, None

    @rule(owner=OWNER)
    def say_that_it_lives(self, owner: str) -> None:
        with writing(self.book.engine) as connection:
            ledger.renew(connection, owner, now_ms=self.clock.wall)
        for one in self.taken:
            if one.open and one.owner == owner:
                one.until_ms = self.clock.wall + ledger.HOLD_S * 1000

    @rule(seconds=st.sampled_from([0, 1, 59, 60, 61]))
    def sweep_what_the_dead_left(self, seconds: int) -> None:
        self.clock.forward(seconds)
        with writing(self.book.engine) as connection:
            left = ledger.sweep(connection, now_ms=self.clock.wall)
        dead = {str(n) for n, one in enumerate(self.taken) if one.open and one.until_ms <= self.clock.wall}
        assert set(left) == dead
        for id_ in dead:
            self.taken[int(id_)].open = False

    @rule(owner=OWNER)
    def begin_after_a_crash(self, owner: str) -> None:
        with writing(self.book.engine) as connection:
            ledger.bury(connection, lambda one: one == owner)
        for one in self.taken:
            one.open = one.open and one.owner != owner

    @rule(seconds=st.sampled_from([0.5, 1, 7, 30, 59.9, 60, 61, 600, 3600, 90_000]))
    def time_passes(self, seconds: float) -> None:
        self.clock.forward(seconds)

    @rule(seconds=st.integers(1, 7200))
    def the_clock_is_set_back(self, seconds: int) -> None:
        self.clock.wall -= seconds * 1000

    @rule(ahead_days=st.sampled_from([0, 0, 100, 40_000]))
    def forget(self, ahead_days: int) -> None:
        """As the service does; the clock may be wrong while it happens."""
        told, now_s = self.told, self.clock.monotonic
        until_ms = None if told is None else told[0] + int((now_s - told[1]) * 1000 * CATCH_UP)
        with writing(self.book.engine) as connection:
            now_ms = self.clock.wall + ahead_days * 86_400_000
            self.told = ledger.forget(connection, now_ms=now_ms, until_ms=until_ms), now_s
        self.forgot = True

    @rule()
    def start_anew(self) -> None:
        self.told = None

    # -- what the oracle adds up

    def within(self, now_ms: int, more_ms: int = 0) -> int:
        """Of the last minute, and of whatever lies ahead since the clock was set back."""
        return sum(one.used or 0 for one in self.taken if one.at_ms > now_ms - MINUTE * 1000 - more_ms)

    def this_hour(self, now_ms: int) -> int:
        begin_ms = now_ms // (HOUR * 1000) * HOUR * 1000
        return sum(one.used or 0 for one in self.taken if one.at_ms >= begin_ms)

    def ever(self) -> int:
        return sum(one.used or 0 for one in self.taken)

    # -- always

    @invariant()
    def p10_in_no_minute_and_no_hour_more_counts_than_allowed(self) -> None:
        for one in self.taken:
            minute = range(one.at_ms, one.at_ms + MINUTE * 1000)
            assert sum(o.used or 0 for o in self.taken if o.at_ms in minute) <= SLIDING["limit"]
            hour = one.at_ms // (HOUR * 1000)
            assert sum(o.used or 0 for o in self.taken if o.at_ms // (HOUR * 1000) == hour) <= CALENDAR["limit"]
        assert self.ever() <= LIFETIME["limit"]

    @invariant()
    def k_07_what_is_held_and_used_is_what_was_taken(self) -> None:
        used, held = self.book.sums()
        assert held == 3 * sum(one.used or 0 for one in self.taken if one.open)
        assert self.forgot or used == 3 * sum(one.used or 0 for one in self.taken if not one.open)


LIMITS = {"sliding": SLIDING, "calendar": CALENDAR, "lifetime": LIFETIME}


def check(engine: Engine, **how: int) -> None:
    run_state_machine_as_test(
        lambda: Machine(engine),
        settings=settings(deadline=None, suppress_health_check=list(HealthCheck), database=None, **how),
    )


def test_p10_budgets_do_what_the_rules_say(database: Engine) -> None:  # noqa: F811
    check(database, max_examples=15, stateful_step_count=20)


@pytest.mark.slow
def test_p10_budgets_do_what_the_rules_say_for_long(database: Engine) -> None:  # noqa: F811
    check(database, max_examples=150, stateful_step_count=50)
