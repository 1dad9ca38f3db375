"""What is locked, by the real database and a clock that is moved by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from proxy.db.engine import open_database
from proxy.identity.locks import STALE_S, TOKEN, Locks, listed, lock, unlock
from tests.identity.test_registry import HandClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

CODER, ALL = ("agent", "coder"), ("all", "")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(tmp_path / "briefcased.db")
    yield engine
    engine.dispose()


async def test_h_08_what_another_process_locks_is_seen_and_told_once(database: Engine, tmp_path: Path) -> None:
    clock, told = HandClock(), []
    locks = Locks(database, clock, changed=lambda added, lifted: told.append((added, lifted)))
    assert locks.stale  # nothing was read yet (P5)
    await locks.refresh()
    assert (locks.stale, locks.holds([CODER]), told) == (False, False, [])
    other = open_database(tmp_path / "briefcased.db")
    lock(other, [CODER, ALL], reason="odd", by="ann", clock=clock)
    await locks.refresh()
    await locks.refresh()
    assert locks.holds([CODER])
    assert locks.holds([("agent", "x"), ALL])
    assert not locks.holds([("agent", "x")])
    assert unlock(other, [CODER, ("agent", "x")]) == [CODER]
    await locks.refresh()
    assert not locks.holds([CODER])
    assert [(sorted(o.key for o in added), [o.key for o in lifted]) for added, lifted in told] == [
        ([CODER, ALL], []),
        ([], [CODER]),
    ]
    other.dispose()


async def test_p5_what_cannot_be_read_any_more_is_not_believed(database: Engine) -> None:
    clock = HandClock()
    locks = Locks(database, clock)
    await locks.refresh()
    with database.begin() as connection:
        connection.execute(text("ALTER TABLE locks RENAME TO gone"))
    clock.now_s += STALE_S - 0.1
    await locks.refresh()
    assert not locks.stale
    clock.now_s += 0.2
    await locks.refresh()
    assert locks.stale


def test_a_second_lock_replaces_the_reason(database: Engine) -> None:
    clock = HandClock()
    for reason in ("one", "two"):
        lock(database, [CODER, (TOKEN, "ab")], reason=reason, by="ann", clock=clock)
    assert {(one.key, one.reason) for one in listed(database)} == {(CODER, "two"), ((TOKEN, "ab"), "two")}
