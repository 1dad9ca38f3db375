"""Failed authentications, per source and of all: buckets that refill with time. Bounded (P7). Pure but for memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

FAILURES: Final = 10
WINDOW_S: Final = 60.0
MAX_SOURCES: Final = 4096
FAILURES_OF_ALL: Final = 1000


class Throttle:
    """Ten failures within a minute close the door for a source until the bucket has refilled, a thousand for all."""

    def __init__(self) -> None:
        self._spent: Final[OrderedDict[str, tuple[float, float]]] = OrderedDict()
        self._of_all = (0.0, 0.0)

    def wait_s(self, source: str, now_s: float) -> int:
        """Seconds until `source` may try again; 0 when it may now."""
        own = _wait_s(self._level(source, now_s), FAILURES)
        return max(own, _wait_s(_left(self._of_all, FAILURES_OF_ALL, now_s), FAILURES_OF_ALL))

    def failed(self, source: str, now_s: float) -> None:
        """Count one failure of `source`."""
        of_all = _left(self._of_all, FAILURES_OF_ALL, now_s) + 1
        self._of_all = (min(of_all, 2.0 * FAILURES_OF_ALL), now_s)
        self._spent[source] = (min(self._level(source, now_s) + 1, 2.0 * FAILURES), now_s)
        self._spent.move_to_end(source)
        while len(self._spent) > MAX_SOURCES:
            self._spent.popitem(last=False)

    def _level(self, source: str, now_s: float) -> float:
        return _left(self._spent.get(source, (0.0, now_s)), FAILURES, now_s)


def _left(spent: tuple[float, float], failures: int, now_s: float) -> float:
    """What is left at `now_s` of a level and when it was that."""
    level, at_s = spent
    return max(0.0, level - (now_s - at_s) * failures / WINDOW_S)


def _wait_s(level: float, failures: int) -> int:
    if level <= failures - 1:
        return 0
    return max(1, int((level - (failures - 1)) * WINDOW_S / failures) + 1)
