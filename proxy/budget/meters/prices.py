"""What an amount costs. Pure; whole micro-dollars, rounded up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from proxy.budget_settings import Price

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


def dearest(prices: Iterable[Price]) -> dict[str, int]:
    """The highest price of each unit: of a model that nobody knows."""
    found: dict[str, int] = {}
    for price in prices:
        for unit, each in price.per_million.items():
            found[unit] = max(each, found.get(unit, 0))
    return found


def cost_microusd(
    price: Mapping[str, int], amounts: Mapping[str, int], *, at_most: bool = False, includes_cached: bool = False
) -> int:
    """What `amounts` cost.

    `at_most`: all input counts at the dearest way it can be read. `includes_cached`: cached input is counted in the
    input too, and paid once.
    """
    units = dict(amounts)
    each = dict(price)
    if at_most:
        each[INPUT] = max((price.get(unit, 0) for unit in (INPUT, *OF_INPUT)), default=0)
        units = {unit: amount for unit, amount in units.items() if unit not in OF_INPUT}
    elif includes_cached:
        units[INPUT] = max(0, units.get(INPUT, 0) - units.get(OF_INPUT[0], 0))
    for unit in OF_INPUT:  # without a price of its own it is paid like any input
        each.setdefault(unit, each.get(INPUT, 0))
    return -(-sum(amount * each.get(unit, 0) for unit, amount in units.items()) // MILLION)


def _fits(pattern: str, model: str) -> bool:
    return model.startswith(pattern[:-1]) if pattern.endswith("*") else model == pattern


def _rank(price: Price) -> tuple[int, bool, str]:
    return len(price.model.rstrip("*")), not price.model.endswith("*"), price.valid_from
