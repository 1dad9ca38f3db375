"""What answers have taught, per credential and origin, and how often that was used."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from proxy.credentials.kind import Moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.clock import Clock
    from proxy.credentials.grants import GrantKey
    from proxy.model import Authority

    type Place = tuple[GrantKey, Authority]

MAX_PLACES: Final = 1024
MAX_FACT_BYTES: Final = 4096


class Learnt:
    """In memory only; what is lost is learnt again. A longer fact is not remembered, the oldest place goes first."""

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self._facts: Final[OrderedDict[Place, dict[str, str]]] = OrderedDict()
        self._counts: Final[dict[Place, int]] = {}
        self._serial = 0

    def moment(self, place: Place, attempt: int, *, used: bool = False) -> Moment:
        """Now, at `place`; `used`: a request is about to be proved with what is known there."""
        facts = self._facts.get(place, {})
        if used and facts:
            self._counts[place] += 1
        now_ms = self._clock.wall_ms()
        self._serial = max(self._serial + 1, now_ms)
        return Moment(now_ms / 1000, dict(facts), attempt, self._serial, self._counts.get(place, 0))

    def remember(self, place: Place, facts: Mapping[str, str]) -> None:
        """Put `facts` in place of what stood under the same names; what is new is counted from its start."""
        short = {name: value for name, value in facts.items() if len(name) + len(value) <= MAX_FACT_BYTES}
        known = self._facts.setdefault(place, {})
        if short.items() - known.items():
            self._counts[place] = 0
        self._counts.setdefault(place, 0)
        known.update(short)
        self._facts.move_to_end(place)
        while len(self._facts) > MAX_PLACES:
            oldest, _ = self._facts.popitem(last=False)
            del self._counts[oldest]
