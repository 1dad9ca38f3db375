"""What an amount costs. Pure; whole micro-dollars, rounded up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.budget_settings import Price

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEAREST: Final = "dearest"
MILLION: Final = 1_000_000
INPUT: Final = "input_tokens"
OF_INPUT: Final = ("cached_tokens", "cache_write_tokens")
"""Input that has another price."""


def price_of(prices: Iterable[Price], model: str) -> Price | None:
    """The price of `model`: the longest name that fits, then the latest day, then the first of the list."""
    best: Price | None = None
    for price in prices:
        if _fits(price.model, model) and (best is None or _rank(price) > _rank(best)):
            best = price
    return best


def dearest(prices: Iterable[Price]) -> Price:
    """The highest price of each unit: of a model that nobody knows."""
    found: dict[str, int] = {}
    for price in prices:
        for unit, each in (*price.per_million.items(), *price.long_per_million.items()):
            found[unit] = max(each, found.get(unit, 0))
    return Price(model=DEAREST, per_million=found)


def most_microusd(price: Price, most: Mapping[str, int]) -> int:
    """The most that a call costs: all input counts at the dearest way it can be read."""
    each = _each(price, most.get(INPUT, 0))
    each[INPUT] = max((each.get(unit, 0) for unit in (INPUT, *OF_INPUT)), default=0)
    return _cost(each, {unit: amount for unit, amount in most.items() if unit not in OF_INPUT})


def cost_microusd(price: Price, used: Mapping[str, int], *, includes_cached: bool) -> int:
    """What `used` costs. `includes_cached`: cached input is counted in the input too, and paid once."""
    cached = sum(used.get(unit, 0) for unit in OF_INPUT)
    every = used.get(INPUT, 0) + (0 if includes_cached else cached)
    fresh = max(0, every - cached)
    each = _each(price, every)
    for unit in OF_INPUT:  # without a price of its own it is paid like any input
        each.setdefault(unit, each.get(INPUT, 0))
    return _cost(each, {**used, INPUT: fresh})


def _each(price: Price, input_tokens: int) -> dict[str, int]:
    is_long = price.long_from is not None and input_tokens >= price.long_from
    return {**price.per_million, **(price.long_per_million if is_long else {})}


def _cost(each: Mapping[str, int], amounts: Mapping[str, int]) -> int:
    return -(-sum(amount * each.get(unit, 0) for unit, amount in amounts.items()) // MILLION)


def _fits(pattern: str, model: str) -> bool:
    return model.startswith(pattern[:-1]) if pattern.endswith("*") else model == pattern


def _rank(price: Price) -> tuple[int, bool, str]:
    return len(price.model.rstrip("*")), not price.model.endswith("*"), price.valid_from
