"""Reserve, settle, release: each in one transaction, so that what is used and reserved together never passes a limit.

A hold has a row until it ends, with the process that it belongs to and a deadline that this process puts off. What a
process left behind when it died is settled at the reserved amount: whether its request was sent is not known (K-06,
K-07).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, delete, func, insert, select, text, update

from proxy.budget.limits import Exhausted, Reserved
from proxy.budget_settings import MAX_SLIDING_S
from proxy.db.engine import take_turns
from proxy.db.tables import budget_counters, budget_holds, budget_rates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection

    from proxy.budget.limits import Charge, Plan, Toll
    from proxy.clock import Clock

HOLD_S: Final = 60
"""How long a hold outlives its process."""
MAX_SKEW_MS: Final = 2_000
KEPT_MS: Final = 2 * MAX_SLIDING_S * 1000
"""Longer than the longest window of the calendar, and than the longest sliding one."""
_TURN: Final = "budgets"
_CLOCK: Final = "clock"
"""Among the rates, whose keys are lists in JSON: what `forget` goes by."""


class SkewError(Exception):
    """Our clock and the database's differ too much to share windows (K-04)."""


def begin(connection: Connection, clock: Clock) -> int:
    """Take a turn at the budgets; the time of the store, in milliseconds. Raises `SkewError`."""
    take_turns(connection, _TURN)
    ours = clock.wall_ms()
    if connection.dialect.name != "postgresql":
        return ours
    theirs = int(connection.execute(text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")).scalar_one())
    if abs(theirs - ours) > MAX_SKEW_MS:
        raise SkewError
    return theirs


def reserve(connection: Connection, id_: str, plan: Plan, *, owner: str, now_ms: int) -> Reserved | Exhausted:
    """Take everything that `plan` says, or nothing: then the first limit that stands in the way.

    Raises nothing else; the caller's transaction decides whether it stays.
    """
    plan, next_us = plan.at(now_ms), dict[str, int]()
    for toll in plan.tolls:
        passed = _passed(connection, toll, now_ms * 1000)
        if isinstance(passed, Exhausted):
            return passed
        next_us[toll.key] = passed
    found = _seen(connection, id_, plan)
    if isinstance(found, Exhausted):
        return found
    for key, value in next_us.items():
        _put_rate(connection, key, value)
    for charge in plan.charges:
        _count(connection, charge.key, charge.span.bucket, held=charge.amount)
    if plan.charges:
        connection.execute(insert(budget_holds), _rows(id_, plan, owner=owner, until_ms=now_ms + HOLD_S * 1000))
    return found


def look(connection: Connection, plan: Plan, *, now_ms: int) -> Reserved | Exhausted:
    """What a reservation of the charges in `plan` would find now; takes nothing."""
    return _seen(connection, "", plan.at(now_ms))


def _seen(connection: Connection, id_: str, plan: Plan) -> Reserved | Exhausted:
    warnings: list[str] = []
    asks: list[str] = []
    left: dict[str, int] = {}
    for charge in plan.charges:
        before = taken(connection, charge)
        after = before + charge.amount
        spare = max(0, charge.limit - before)
        left[charge.unit] = min(spare, left.get(charge.unit, spare))
        if after > charge.limit:
            if charge.hard:
                return _exhausted(charge, before)
            asks.append(charge.budget)
        for soft in charge.soft:
            if after > charge.limit * soft.at:
                (warnings if soft.then == "warn" else asks).append(charge.budget)
    return Reserved(id_, plan, tuple(dict.fromkeys(warnings)), tuple(dict.fromkeys(asks)), left)


def _rows(id_: str, plan: Plan, *, owner: str, until_ms: int) -> list[dict[str, str | int]]:
    return [
        {
            "hold": id_,
            "key": charge.key,
            "bucket": charge.span.bucket,
            "unit": charge.unit,
            "amount": charge.amount,
            "owner": owner,
            "until_ms": until_ms,
        }
        for charge in plan.charges
    ]


def taken(connection: Connection, charge: Charge) -> int:
    """What is used and reserved of a limit now."""
    counted = budget_counters.c.used + budget_counters.c.held
    here = and_(budget_counters.c.key == charge.key, budget_counters.c.bucket >= charge.span.since)
    return int(connection.execute(select(func.coalesce(func.sum(counted), 0)).where(here)).scalar_one())


def settle(connection: Connection, id_: str, used: Mapping[str, int]) -> bool:
    """End a hold: what it reserved becomes what was used, by unit, and never more.

    A unit that `used` does not name counts as reserved.

    False where there is no such hold, because it has ended already: it is never counted twice.
    """
    rows = connection.execute(
        delete(budget_holds)
        .where(budget_holds.c.hold == id_)
        .returning(budget_holds.c.key, budget_holds.c.bucket, budget_holds.c.unit, budget_holds.c.amount)
    ).all()
    for key, bucket, unit, amount in rows:
        _count(connection, key, bucket, held=-amount, used=min(amount, max(0, used.get(unit, amount))))
    return bool(rows)


def release(connection: Connection, id_: str) -> bool:
    """End a hold of which nothing was used: it was never sent."""
    rows = connection.execute(
        delete(budget_holds)
        .where(budget_holds.c.hold == id_)
        .returning(budget_holds.c.key, budget_holds.c.bucket, budget_holds.c.amount)
    ).all()
    for key, bucket, amount in rows:
        _count(connection, key, bucket, held=-amount)
    return bool(rows)


def renew(connection: Connection, owner: str, *, now_ms: int) -> None:
    """This process is alive: its holds stand."""
    mine = budget_holds.c.owner == owner
    connection.execute(update(budget_holds).where(mine).values(until_ms=now_ms + HOLD_S * 1000))


def sweep(connection: Connection, *, now_ms: int) -> tuple[str, ...]:
    """Settle what processes that died left behind, at the reserved amounts; the ids of those holds."""
    over = select(budget_holds.c.hold).where(budget_holds.c.until_ms <= now_ms).distinct()
    left = tuple(connection.execute(over).scalars())
    for id_ in left:
        settle(connection, id_, {})
    return left


def bury(connection: Connection, is_dead: Callable[[str], bool]) -> tuple[str, ...]:
    """As `sweep`, at once, what belongs to owners of which it is known that they are dead."""
    owners = [
        owner for owner in connection.execute(select(budget_holds.c.owner).distinct()).scalars() if is_dead(owner)
    ]
    mine = budget_holds.c.owner.in_(owners)
    left = tuple(connection.execute(select(budget_holds.c.hold).where(mine).distinct()).scalars())
    for id_ in left:
        settle(connection, id_, {})
    return left


def forget(connection: Connection, *, now_ms: int, until_ms: int | None = None) -> int:
    """Remove counters that no window reaches back to; those of a lifetime stay.

    What is old is told by a clock of its own, which is kept here and returned: it follows the wall clock, but goes
    forward to `until_ms` at most, and not at all without it. A wall clock that is wrong for a time, also from a start
    on, thus makes nothing look old that would count again once it is set right. One that was behind, by years too, is
    made up for: before the oldest that is kept there is nothing to keep.
    """
    known = connection.execute(select(budget_rates.c.next_us).where(budget_rates.c.key == _CLOCK)).scalar()
    told_ms = _newest(connection, now_ms) if known is None else max(int(known) // 1000, _oldest(connection))
    told_ms = min(now_ms, told_ms if until_ms is None else max(told_ms, until_ms))
    _put_rate(connection, _CLOCK, told_ms * 1000)
    bucket = budget_counters.c.bucket
    old = and_(bucket > 0, bucket < told_ms - KEPT_MS, budget_counters.c.held == 0)
    connection.execute(delete(budget_counters).where(old))
    connection.execute(delete(budget_rates).where(budget_rates.c.next_us < (told_ms - KEPT_MS) * 1000))
    return told_ms


def _newest(connection: Connection, now_ms: int) -> int:
    """When the last counter was begun; `now_ms` where there is none."""
    found = select(func.max(budget_counters.c.bucket)).where(budget_counters.c.bucket.between(1, now_ms))
    return int(connection.execute(found).scalar() or now_ms)


def _oldest(connection: Connection) -> int:
    """When the oldest of what can be forgotten was begun or is due; 0 where there is nothing."""
    begun = select(func.min(budget_counters.c.bucket)).where(budget_counters.c.bucket > 0)
    due = select(func.min(budget_rates.c.next_us) / 1000).where(budget_rates.c.key != _CLOCK)
    found = (connection.execute(query).scalar() for query in (begun, due))
    return min((int(one) for one in found if one is not None), default=0)


def _count(connection: Connection, key: str, bucket: int, *, held: int = 0, used: int = 0) -> None:
    here = and_(budget_counters.c.key == key, budget_counters.c.bucket == bucket)
    values = {"held": budget_counters.c.held + held, "used": budget_counters.c.used + used}
    if connection.execute(update(budget_counters).where(here).values(**values)).rowcount == 0:
        connection.execute(insert(budget_counters).values(key=key, bucket=bucket, used=used, held=held))


def _exhausted(charge: Charge, before: int) -> Exhausted:
    left = max(0, charge.limit - before)
    return Exhausted(charge.budget, charge.unit, left, charge.span.resets_at_ms, hard=charge.hard)


def _passed(connection: Connection, toll: Toll, now_us: int) -> int | Exhausted:
    """The generic cell rate algorithm: when the call after this one is due; `Exhausted` where this one comes too early.

    Source: ITU-T I.371, annex A.
    """
    known = connection.execute(select(budget_rates.c.next_us).where(budget_rates.c.key == toll.key)).scalar()
    if toll.calls > toll.burst:  # never at once, however long it waits
        return Exhausted(toll.rate, "requests", 0, None, rate=True)
    due = max(now_us, known or 0)
    allowed_at = due - toll.interval_us * (toll.burst - toll.calls)
    if allowed_at > now_us:
        return Exhausted(toll.rate, "requests", 0, -(-allowed_at // 1000), rate=True)
    return due + toll.interval_us * toll.calls


def _put_rate(connection: Connection, key: str, next_us: int) -> None:
    if connection.execute(update(budget_rates).where(budget_rates.c.key == key).values(next_us=next_us)).rowcount == 0:
        connection.execute(insert(budget_rates).values(key=key, next_us=next_us))
