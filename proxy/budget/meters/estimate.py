"""The most that a call may use: what is reserved for it before it leaves. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from proxy.budget.meters.json_values import at, is_missing, read, whole
from proxy.budget.meters.prices import dearest, most_microusd, price_of
from proxy.budget_settings import USD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from proxy.budget.meters.json_values import Json
    from proxy.budget.meters.spec import Most, Usage
    from proxy.budget_settings import Price


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is reserved for a call.

    Attributes:
        most: by unit; `usd` in micro-dollars.
        price: of the call's model; None where nothing has a price.
        priced_as: the name in the price list; `dearest` where the model is not in it.
    """

    most: Mapping[str, int] = field(default_factory=dict)
    price: Price | None = None
    priced_as: str | None = None


NOTHING: Final = Estimate()


def estimate(
    usage: Usage, prices: Iterable[Price], body: bytes | None, params: Mapping[str, str], *, today: str
) -> Estimate:
    """The most that a call with `body` may use; `today` as 2026-11-26.

    Of a body that cannot be read every amount is the largest that there is (K-11).
    """
    document = read(body) if body else None
    readable = not body or isinstance(document, dict)
    most = {unit: _amount(one, document, len(body or b""), readable=readable) for unit, one in usage.most.items()}
    valid = [price for price in prices if price.valid_from <= today and not most.keys().isdisjoint(price.per_million)]
    if not valid:
        return Estimate(most)
    model = _model(usage, document, params)
    found = price_of(valid, model) if model is not None else None
    price = found or dearest(valid)
    most[USD] = most_microusd(price, most)
    return Estimate(most, price, price.model)


def _amount(most: Most, document: Json | None, body_bytes: int, *, readable: bool) -> int:
    if not readable:
        return most.cap * most.max_times
    asked = _asked(most, document) if all(is_missing(at(document, one)) for one in most.cap_if) else None
    times = _times(most, document)
    counted = _counted(most, document)
    if asked is None or counted is None:
        return most.cap * times
    return min(most.cap, most.fixed + most.per_body_byte * body_bytes + asked + counted) * times


def _asked(most: Most, document: Json | None) -> int | None:
    """What the body asks for; None where that is no whole number."""
    values = [value for pointer in most.field if not is_missing(value := at(document, pointer))]
    if not values:
        return most.default
    numbers = [whole(value) for value in values]
    return None if None in numbers else max(number for number in numbers if number is not None)


def _counted(most: Most, document: Json | None) -> int | None:
    """How many entries the lists have together; a single value counts as one. None for an object."""
    values = [value for pointer in most.entries if not is_missing(value := at(document, pointer))]
    if any(isinstance(value, dict) for value in values):
        return None
    return sum(len(value) if isinstance(value, list) else 1 for value in values)


def _times(most: Most, document: Json | None) -> int:
    values = [value for pointer in most.times if not is_missing(value := at(document, pointer))]
    numbers = [whole(value) for value in values]
    return min(most.max_times, max((most.max_times if n is None else max(1, n) for n in numbers), default=1))


def _model(usage: Usage, document: Json | None, params: Mapping[str, str]) -> str | None:
    if usage.model_param is not None and (named := params.get(usage.model_param)):
        return named.partition(":")[0]
    value = at(document, usage.model) if usage.model is not None else None
    return value if isinstance(value, str) else None
