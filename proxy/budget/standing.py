"""What is used, held and left of every limit: read for people, takes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import func, select

from proxy.budget.windows import span
from proxy.db.tables import budget_counters, budget_holds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sqlalchemy import Connection

    from proxy.budget_settings import Budget


@dataclass(frozen=True, slots=True)
class Standing:
    """One counter of a budget, in the window of now.

    Attributes:
        each: what it is kept for: dimension to value; empty for all calls together.
        used, held, left: in the budget's unit; micro-dollars for `usd`.
        resets_at_ms: None for never.
        holds: calls under way that hold some of it.
    """

    budget: str
    unit: str
    limit: int
    each: Mapping[str, str]
    used: int
    held: int
    left: int
    resets_at_ms: int | None
    holds: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What one window of a budget has seen; `since_ms` is 0 for a lifetime."""

    budget: str
    each: Mapping[str, str]
    since_ms: int
    used: int
    held: int


def standings(connection: Connection, budgets: Iterable[Budget], *, now_ms: int) -> Iterator[Standing]:
    """Every counter that has something in its window; a budget that has none yet, as untouched."""
    for budget in budgets:
        window = span(budget.window, budget.zone, now_ms)
        counted = budget_counters.c
        rows = connection.execute(
            select(counted.key, func.sum(counted.used), func.sum(counted.held))
            .where(counted.key.like(_keys_of(budget.name), escape="\\"), counted.bucket >= window.since)
            .group_by(counted.key)
            .order_by(counted.key)
        ).all()
        for key, used, held in [tuple(row) for row in rows] or [("", 0, 0)]:
            yield Standing(
                budget=budget.name,
                unit=budget.unit,
                limit=budget.amount,
                each=_each(key),
                used=int(used),
                held=int(held),
                left=max(0, budget.amount - int(used) - int(held)),
                resets_at_ms=window.resets_at_ms,
                holds=_holds(connection, key),
            )


def usages(connection: Connection, budget: str | None = None, *, limit: int | None = None) -> Iterator[Usage]:
    """Every window that is kept, or the first so many, the newest first."""
    counted = budget_counters.c
    query = select(counted.key, counted.bucket, counted.used, counted.held).order_by(counted.bucket.desc(), counted.key)
    query = query.limit(limit)
    if budget is not None:
        query = query.where(counted.key.like(_keys_of(budget), escape="\\"))
    for key, bucket, used, held in connection.execute(query):
        yield Usage(orjson.loads(key)[1], _each(key), bucket, used, held)


def _holds(connection: Connection, key: str) -> int:
    here = budget_holds.c.key == key
    return int(connection.execute(select(func.count()).select_from(budget_holds).where(here)).scalar_one())


def _keys_of(budget: str) -> str:
    return f'["budget","{budget}",%'.replace("_", r"\_")


def _each(key: str) -> Mapping[str, str]:
    found: Mapping[str, str] = orjson.loads(key)[2] if key else {}
    return found
