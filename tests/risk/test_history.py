"""What agents have called before: in memory at once, in the database within a second, unknown when it cannot be read."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import text

from proxy.clock import SystemClock
from proxy.db.engine import open_database, writing
from proxy.db.shared import open_shared
from proxy.db.tables import risk_uses
from proxy.model import Agent
from proxy.risk import HOUR_MS, Past, Usage, uses
from proxy.risk.history import MAX_UNWRITTEN, History
from proxy.secret import Secret
from proxy.settings import SharedDatabase
from tests.rig.postgres import PASSWORD, postgres

CODER = Agent("coder", ("*",), "t1")
OTHER_TENANT = replace(CODER, tenant="other")
HOUR = 500_000
KEY = (CODER.tenant, CODER.name)


class Clock(SystemClock):
    """Moved by hand."""

    def __init__(self) -> None:
        self.hour, self.passed_s = HOUR, 1000.0

    def wall_ms(self) -> int:
        return self.hour * HOUR_MS

    def monotonic_s(self) -> float:
        return self.passed_s


@pytest.fixture(scope="session")
def server():
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request, tmp_path):
    if request.param == "sqlite":
        engine = open_database(tmp_path / "x.db")
    else:
        server = request.getfixturevalue("server")
        settings = SharedDatabase(host="localhost", port=server.port, ca_bundle=server.ca)
        engine = open_shared(settings, Secret("password", PASSWORD.encode()))
        with engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM risk_uses")
    yield engine
    engine.dispose()


@contextmanager
def unreadable(database):
    with writing(database) as connection:
        connection.execute(text("ALTER TABLE risk_uses RENAME TO gone"))
    yield
    with writing(database) as connection:
        connection.execute(text("ALTER TABLE gone RENAME TO risk_uses"))


def row(hour, operation="read", host="a.test", agent=CODER):
    return uses.Row(agent.tenant, agent.name, "alpha", operation, host, hour)


def stored(database, rows):
    with writing(database) as connection:
        uses.add(connection, rows)


async def test_a_call_is_known_at_once_and_after_a_restart(database):
    clock = Clock()
    history = History(database, clock=clock)
    assert await history.past(CODER) == Past()
    for _ in range(3):
        history.note(CODER, "alpha", "read", "a.test")
    wanted = Past({("alpha", "read"): Usage(HOUR, 3)}, frozenset({"a.test"}))
    assert await history.past(CODER) == wanted
    await history.close()
    assert await History(database, clock=clock).past(CODER) == wanted


async def test_a_call_that_is_noted_before_the_first_reading_counts(database):
    history = History(database, clock=Clock())
    history.note(CODER, "alpha", "read", "a.test")
    past = await history.past(CODER)
    assert past is not None
    assert past.uses == {("alpha", "read"): Usage(HOUR, 1)}


async def test_p6_nothing_is_known_of_others(database):
    history = History(database, clock=Clock())
    history.note(CODER, "alpha", "read", "a.test")
    await history.close()
    for other in (OTHER_TENANT, replace(CODER, name="else")):
        assert await history.past(other) == Past()


async def test_the_hours_before_make_the_peak(database):
    stored(database, {row(HOUR): 4, row(HOUR, host="b.test"): 1, row(HOUR - 1): 9, row(HOUR - 100): 30, row(HOUR - 100, host="b.test"): 3, row(HOUR - 169): 500})  # fmt: skip
    past = await History(database, clock=Clock()).past(CODER)
    assert past == Past({("alpha", "read"): Usage(HOUR, 5, 33)}, frozenset({"a.test", "b.test"}))


def test_the_next_hour_takes_the_last_one_into_the_peak():
    usage = Usage(HOUR, 5, 3)
    assert usage.plus(HOUR) == Usage(HOUR, 6, 3)
    assert usage.plus(HOUR + 2) == Usage(HOUR + 2, 1, 5)
    assert usage.plus(HOUR - 1) == Usage(HOUR, 6, 3)
    assert (usage.during(HOUR), usage.during(HOUR + 1), usage.peak_before(HOUR + 1)) == (5, 0, 5)


async def test_what_is_older_than_thirty_days_is_new_again_and_forgotten(database):
    clock = Clock()
    stored(database, {row(HOUR - 720): 1, row(HOUR - 719, "write"): 1})
    past = await History(database, clock=clock).past(CODER)
    assert past is not None
    assert set(past.uses) == {("alpha", "write")}
    with writing(database) as connection:
        uses.forget(connection, now_hour=HOUR)
        assert connection.execute(risk_uses.select()).all() == [(*row(HOUR - 719, "write"), 1)]


async def test_p5_a_database_that_cannot_be_read_makes_the_past_unknown(database):
    clock = Clock()
    history = History(database, clock=clock)
    with unreadable(database):
        assert await history.past(CODER) is None
    clock.passed_s += 5
    assert await history.past(CODER) == Past()


async def test_p5_what_was_read_too_long_ago_is_not_believed(database):
    clock = Clock()
    history = History(database, clock=clock)
    await history.past(CODER)
    with unreadable(database):
        clock.passed_s += 60
        assert await history.past(CODER) == Past()
        clock.passed_s += 61
        assert await history.past(CODER) is None


async def test_calls_that_cannot_be_written_stay_for_the_next_time(database):
    history = History(database, clock=Clock())
    history.note(CODER, "alpha", "read", "a.test")
    with unreadable(database):
        await history.close()
    history.note(CODER, "alpha", "read", "a.test")
    await history.close()
    with database.connect() as connection:
        assert connection.execute(risk_uses.select()).all() == [(*row(HOUR), 2)]


async def test_two_sidecars_add_up_and_learn_of_each_other(database):
    clock = Clock()
    one, other = History(database, clock=clock), History(database, clock=clock)
    await one.past(CODER)
    other.note(CODER, "alpha", "read", "a.test")
    await other.close()
    one.note(CODER, "alpha", "read", "b.test")
    clock.passed_s += 31
    async with asyncio.timeout(20):
        watching = asyncio.ensure_future(one.watch())
        while (await one.past(CODER)) != Past({("alpha", "read"): Usage(HOUR, 2)}, frozenset({"a.test", "b.test"})):
            await asyncio.sleep(0.02)
        watching.cancel()


def test_p7_a_past_beyond_the_bounds_is_unknown(database):
    hosts = {row(HOUR, host=f"h{n}.test"): 1 for n in range(uses.MAX_HOSTS + 1)}
    assert uses.bounded(Past({}, frozenset(str(n) for n in range(uses.MAX_HOSTS)))) is not None
    stored(database, hosts)
    with database.connect() as connection:
        assert uses.past_of(connection, KEY, now_hour=HOUR) is None


async def test_p7_what_waits_to_be_written_is_bounded(database):
    history = History(database, clock=Clock())
    history._unwritten.rows.update(dict.fromkeys(range(MAX_UNWRITTEN), 1))  # as many keys
    history.note(CODER, "alpha", "new", "a.test")
    assert len(history._unwritten.rows) == MAX_UNWRITTEN
