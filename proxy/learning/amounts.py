"""Budgets that would have let everything through that was seen, and what given budgets would have refused. Pure.

A call takes what it reserves when it begins, and what it used from when it has ended; so a limit has to be above what
was used in its window plus what the calls under way had reserved.
"""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from proxy.budget.windows import span
from proxy.budget_settings import LARGEST, USD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from proxy.budget_settings import Budget
    from proxy.learning.seen import Seen

WINDOWS: Final = ("hour", "day", "week", "month")
ALWAYS: Final = ("requests", "bytes")
DIGITS: Final = 2
LARGEST_USD: Final = 10**15 - 1
"""Micro-dollars that the amount of a budget can say."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def rounded_up(amount: int) -> int:
    """To two digits and zeros: 512 becomes 520."""
    step = int("1".ljust(len(str(amount)) - DIGITS + 1, "0"))
    return -(-amount // step) * step


def proposed(calls: Iterable[Seen], window: str) -> Iterator[Mapping[str, Any]]:
    """Entries of the block `budgets:`: for each agent and unit, the most that one window took, rounded up."""
    by_agent: dict[str, list[Seen]] = {}
    for call in calls:
        by_agent.setdefault(call.agent, []).append(call)
    for number, (agent, theirs) in enumerate(sorted(by_agent.items()), 1):
        units = {*ALWAYS, *(unit for call in theirs for unit in (*call.reserved, *call.used))}
        for unit in sorted(units, key=lambda one: (one not in ALWAYS, one != ALWAYS[0], one)):
            tally = Tally(unit, window)
            most = rounded_up(max(tally.take(call) for call in _in_order(theirs)))
            limit = min(most, LARGEST_USD if unit == USD else LARGEST)
            amount = f"{limit // 1_000_000}.{limit % 1_000_000:06}" if unit == USD else limit
            name = f"learnt-{agent}-{unit}"
            name = name if _NAME.fullmatch(name) else f"learnt-{number}-{unit}"[:63]
            yield {"name": name, "unit": unit, "limit": amount, "window": window, "match": {"agent": agent}}


def exceeding(calls: Iterable[Seen], budgets: Iterable[Budget]) -> Iterator[Seen]:
    """The calls that `budgets`, each of one agent, would have refused; each once, in the order in which they came."""
    kept = [(budget, Tally(budget.unit, str(budget.window))) for budget in budgets]
    for call in _in_order(calls):
        mine = [(budget.amount, tally) for budget, tally in kept if budget.match.agent == call.agent]
        if any(tally.before(call) + call.reserve(tally.unit) > limit for limit, tally in mine):
            yield call
            continue
        for _, tally in mine:
            tally.take(call)


def _in_order(calls: Iterable[Seen]) -> list[Seen]:
    return sorted(calls, key=lambda call: call.at_ms)


@dataclass(slots=True)
class Tally:
    """What the calls so far have taken of one unit in the window of the last one. Calls come in order."""

    unit: str
    window: str
    _bucket: int = -1
    _taken: int = 0
    _under_way: list[tuple[int, int]] = field(default_factory=list)

    def before(self, call: Seen) -> int:
        """What is used and reserved when `call` comes."""
        bucket = span(self.window, "UTC", call.at_ms).bucket
        if bucket != self._bucket:
            self._bucket, self._taken = bucket, 0
            self._under_way.clear()
        while self._under_way and self._under_way[0][0] <= call.at_ms:
            self._taken -= heapq.heappop(self._under_way)[1]
        return self._taken

    def take(self, call: Seen) -> int:
        """What is used and reserved with `call`."""
        reserve = call.reserve(self.unit)
        self._taken = self.before(call) + reserve
        heapq.heappush(self._under_way, (call.ended_at_ms, reserve - min(reserve, call.use(self.unit))))
        return self._taken
