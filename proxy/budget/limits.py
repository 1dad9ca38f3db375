"""Which limits a call comes under, and how much it takes of each. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import orjson

from proxy.budget.windows import span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from proxy.budget.windows import Span
    from proxy.budget_settings import Budget, Rate, Scope, SoftLimit

REQUESTS: Final = "requests"
BYTES: Final = "bytes"


@dataclass(frozen=True, slots=True)
class Subject:
    """A call, as limits see it. `None` is what it does not have; `operation` is `profile:operation`."""

    tenant: str
    agent: str
    account: str
    provider: str
    profile: str
    operation: str
    action: str
    groups: tuple[str, ...] = ()
    user: str | None = None
    task: str | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """What a call takes of one limit.

    Attributes:
        key: of the counter: the budget, and the values of the dimensions that it is kept for.
        window, zone: of the budget.
        amount: the most that the call may use; whole, never negative.
        hard: beyond the limit it is refused; else a person is asked.
    """

    budget: str
    key: str
    unit: str
    span: Span
    window: str | int
    zone: str
    limit: int
    amount: int
    hard: bool = True
    soft: tuple[SoftLimit, ...] = ()


@dataclass(frozen=True, slots=True)
class Toll:
    """What a request takes of one rate: `calls` of at most one every `interval_us`, `burst` at once."""

    rate: str
    key: str
    interval_us: int
    burst: int
    calls: int = 1


@dataclass(frozen=True, slots=True)
class Counted:
    """At most `calls` calls of one agent within the last `per_s` seconds."""

    name: str
    calls: int
    per_s: int

    def key(self, subject: Subject) -> str:
        """Of the counter of the agent that calls."""
        return _key("calls", self.name, {"tenant": subject.tenant, "agent": subject.agent})


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a call takes."""

    charges: tuple[Charge, ...] = ()
    tolls: tuple[Toll, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.charges or self.tolls)

    def at(self, now_ms: int) -> Plan:
        """The same in the windows of `now_ms`: of the store's clock, which all that share it go by (K-04)."""
        moved = (replace(one, span=span(one.window, one.zone, now_ms)) for one in self.charges)
        return replace(self, charges=tuple(moved))


def planned(
    budgets: Iterable[Budget],
    rates: Iterable[Rate],
    subject: Subject,
    most: Mapping[str, int],
    *,
    now_ms: int,
    calls: int = 1,
    counted: Iterable[Counted] = (),
) -> Plan:
    """What a call takes of every limit it comes under.

    `calls`: as how many it counts; `counted` are limits for calls like this one alone.

    `most` is the most that it may use, by unit; of a unit that it does not name it uses nothing, unless a budget
    refuses such calls: then it takes more than there is.
    """
    amounts = {**most, REQUESTS: calls}
    charges = (
        Charge(
            budget=budget.name,
            key=key,
            unit=budget.unit,
            span=span(budget.window, budget.zone, now_ms),
            window=budget.window,
            zone=budget.zone,
            limit=budget.amount,
            amount=amounts.get(budget.unit, budget.amount + 1),
            hard=budget.over == "refuse" or budget.unit not in amounts,
            soft=budget.soft,
        )
        for budget in budgets
        if budget.unit in amounts or (budget.unmetered == "refuse" and subject.action != "read")
        for key in _keys("budget", budget.name, budget.match, budget.each, subject)
    )
    tolls = (
        Toll(rate.name, key, -(-rate.per_s * 1_000_000 // rate.calls), rate.burst, calls)
        for rate in rates
        for key in _keys("rate", rate.name, rate.match, rate.each, subject)
    )
    own = (
        Charge(
            budget=one.name,
            key=one.key(subject),
            unit=REQUESTS,
            span=span(one.per_s, "UTC", now_ms),
            window=one.per_s,
            zone="UTC",
            limit=one.calls,
            amount=calls,
        )
        for one in counted
    )
    return _ordered((*charges, *own), tolls)


def together(plans: Iterable[Plan]) -> Plan:
    """What several calls take that leave as one request: amounts add up, but for its bytes, which are there once."""
    charges: dict[str, Charge] = {}
    tolls: dict[str, Toll] = {}
    for plan in plans:
        for charge in plan.charges:
            known = charges.setdefault(charge.key, charge)
            if known is not charge:
                amount = max(known.amount, charge.amount) if charge.unit == BYTES else known.amount + charge.amount
                charges[charge.key] = replace(known, amount=amount, hard=known.hard or charge.hard)
        for toll in plan.tolls:
            known_toll = tolls.setdefault(toll.key, toll)
            if known_toll is not toll:
                tolls[toll.key] = replace(known_toll, calls=known_toll.calls + toll.calls)
    most = max((charge.amount for charge in charges.values() if charge.unit == BYTES), default=0)
    carried = (replace(one, amount=most) if one.unit == BYTES else one for one in charges.values())
    return _ordered(carried, tolls.values())


def _ordered(charges: Iterable[Charge], tolls: Iterable[Toll]) -> Plan:
    """In one order everywhere, so that transactions never wait for each other in a circle."""
    return Plan(tuple(sorted(charges, key=lambda one: one.key)), tuple(sorted(tolls, key=lambda one: one.key)))


def _keys(kind: str, name: str, scope: Scope, each: tuple[str, ...], subject: Subject) -> Iterator[str]:
    """The counters of a limit that `subject` comes under: none where it does not, several where a group is counted."""
    if not _covers(scope, subject):
        return
    found: list[dict[str, str]] = [{}]
    for dimension in each:
        values = _values(dimension, subject)
        found = [{**one, dimension: value} for one in found for value in values]
    for one in found:
        yield _key(kind, name, one)


def _key(kind: str, name: str, values: dict[str, str]) -> str:
    return orjson.dumps([kind, name, values], option=orjson.OPT_SORT_KEYS).decode()


def _covers(scope: Scope, subject: Subject) -> bool:
    wanted = {name: value for name in type(scope).model_fields if (value := getattr(scope, name)) is not None}
    return all(str(value) in _values(name, subject) for name, value in wanted.items())


def _values(dimension: str, subject: Subject) -> tuple[str, ...]:
    if dimension == "group":
        return subject.groups
    value = getattr(subject, dimension)
    return () if value is None else (value,)


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The limit that stands in the way.

    Attributes:
        name: of the budget, or of the rate.
        left: what could still be used; 0 for a rate.
        resets_at_ms: when it is whole again, or for a rate when the next call may come; None for never.
    """

    name: str
    unit: str
    left: int
    resets_at_ms: int | None
    rate: bool = False
    hard: bool = True


@dataclass(frozen=True, slots=True)
class Reserved:
    """A reservation.

    Attributes:
        warnings: budgets of which a soft limit is reached.
        asks: budgets for which a person has to be asked, because a soft limit or the limit itself is passed.
        left: by unit, what the tightest budget had left before.
    """

    id: str
    plan: Plan
    warnings: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    left: Mapping[str, int] = field(default_factory=dict)
