"""`Meter`: what one call has reserved, what it may still carry, and what it has used in the end. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.budget.limits import BYTES, REQUESTS
from proxy.budget.meters.prices import OF_INPUT, cost_microusd
from proxy.budget_settings import USD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.budget.meters.estimate import Estimate
    from proxy.budget.meters.spec import Usage
    from proxy.budget.meters.tap import Tap
    from proxy.model import Headers


@dataclass(slots=True)
class Meter:
    """Of one attempt at a call.

    Attributes:
        id: of its hold.
        reserved: by unit, of the budgets that it comes under.
        tap: reads the answer; None where no unit of a budget stands there.
        several: it counts as more than one call, of which the reserve says how many: only bytes are told afterwards.
        wire: bytes of the answer as they came.
        carried: bytes of the answer as the agent got them, and of trailers and messages.
    """

    id: str
    reserved: Mapping[str, int]
    estimate: Estimate
    usage: Usage | None = None
    tap: Tap | None = None
    several: bool = False
    status: int | None = None
    wire: int = 0
    carried: int = 0
    over: set[str] = field(default_factory=set)

    @property
    def max_bytes(self) -> int | None:
        """How many bytes it may carry, both ways; None for any."""
        return self.reserved.get(BYTES)

    def head(self, status: int, headers: Headers) -> None:
        """The head of the answer."""
        self.status = status
        if self.tap is not None:
            self.tap.head(headers)

    def came(self, wire: int, clean: bytes, *, request_bytes: int) -> bool:
        """A piece of the body: its bytes as they came, and as the agent gets them.

        False where it has carried more than was reserved, with what the request has carried so far.
        """
        self.wire += wire
        self.carried += len(clean)
        if self.tap is not None:
            self.tap.feed(clean)
        return self.max_bytes is None or request_bytes + max(self.wire, self.carried) <= self.max_bytes

    def used(self, request_bytes: int, response_bytes: int, *, whole_answer: bool) -> dict[str, int]:
        """What it has used, by unit, never above what was reserved (K-08); units of which nothing is known are absent.

        What the provider says beyond the reserve is noted in `over`.
        """
        found = {BYTES: request_bytes + max(self.wire, self.carried, response_bytes)}
        if not self.several:
            found[REQUESTS] = 1
        usage = self.usage
        if usage is not None and self.status in usage.unbilled:
            found |= dict.fromkeys((*usage.most, USD), 0)
        elif self.tap is not None and usage is not None:
            found |= self.tap.used(whole_answer=whole_answer)
            if (cost := self._cost(found, usage)) is not None:
                found[USD] = cost
        self.over |= {unit for unit, most in self.reserved.items() if found.get(unit, 0) > most}
        return {unit: min(found[unit], most) for unit, most in self.reserved.items() if unit in found}

    def _cost(self, found: Mapping[str, int], usage: Usage) -> int | None:
        """None where an amount that has a price is not known; of its input a provider may leave out the cached part."""
        price = self.estimate.price
        if price is None:
            return None
        needed = {unit for unit in price.per_million if unit not in OF_INPUT and unit in usage.most}
        if not needed <= found.keys():
            return None
        return cost_microusd(price, found, includes_cached=usage.includes_cached)
