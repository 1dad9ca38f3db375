"""Public documents of providers (discovery), kept in memory so that they are not asked for at each mint."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.clock import Clock
    from proxy.credentials.kind import Reply

    type Place = tuple[str, str]
    """The provider whose trust roots and ways out were used, and the URL."""

MAX_DOCUMENTS: Final = 64
USUAL_S: Final = 600
"""Where the answer does not say; and the longest that nothing is taken to be at a place."""
MAX_AGE_S: Final = 24 * 3600
FOUND: Final = 200
_MAX_AGE: Final = re.compile(r"max-age=\"?([0-9]{1,10})\"?")
_SECONDS: Final = re.compile(r"[0-9]{1,10}")


class Documents:
    """One per runner. Whoever asks says which replies are worth keeping; the oldest goes first."""

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self._kept: Final[OrderedDict[Place, tuple[Reply, float]]] = OrderedDict()

    def get(self, place: Place) -> Reply | None:
        """The reply that is kept, while it is fresh."""
        reply, until_s = self._kept.get(place, (None, 0.0))
        return reply if until_s > self._clock.monotonic_s() else None

    def put(self, place: Place, reply: Reply) -> None:
        """Keep `reply` as long as it says, within limits."""
        self._kept.pop(place, None)
        self._kept[place] = (reply, self._clock.monotonic_s() + fresh_s(reply))
        while len(self._kept) > MAX_DOCUMENTS:
            self._kept.popitem(last=False)

    def drop(self, places: Iterable[Place]) -> None:
        """Something that was built on these has failed: they are asked for again."""
        for place in places:
            self._kept.pop(place, None)

    def drop_all_of(self, provider: str) -> None:
        """As `drop`, for everything of `provider`."""
        self.drop([place for place in self._kept if place[0] == provider])


def fresh_s(reply: Reply) -> int:
    """How many seconds `reply` may be kept; 0 where it forbids that.

    Source: RFC 9111, sections 4.2.1, 4.2.3 and 5.2.2.
    """
    said = {one.strip().lower() for one in reply.headers.get("cache-control", "").split(",")}
    if said & {"no-store", "no-cache"}:
        return 0
    ages = [int(found[1]) for one in said if (found := _MAX_AGE.fullmatch(one))]
    age = reply.headers.get("age", "").strip()
    old_s = int(age) if _SECONDS.fullmatch(age) else 0
    most_s = MAX_AGE_S if reply.status == FOUND else USUAL_S
    return min(max(min(ages) - old_s, 0), most_s) if ages else USUAL_S
