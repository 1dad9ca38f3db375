"""Failed authentications per source: a bucket that refills with time. Bounded (P7). Pure but for what it remembers."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

FAILURES: Final = 10
WINDOW_S: Final = 60.0
MAX_SOURCES: Final = 4096


class Throttle:
    """Ten failures within a minute close the door for a source until the bucket has refilled."""

    def __init__(self) -> None:
        self._spent: Final[OrderedDict[str, tuple[float, float]]] = OrderedDict()

    def wait_s(self, source: str, now_s: float) -> int:
        """Seconds until `source` may try again; 0 when it may now."""
        spent = self._level(source, now_s)
        if spent <= FAILURES - 1:
            return 0
        return max(1, int((spent - (FAILURES - 1)) * WINDOW_S / FAILURES) + 1)

    def failed(self, source: str, now_s: float) -> None:
        """Count one failure of `source`."""
        self._spent[source] = (min(self._level(source, now_s) + 1, 2.0 * FAILURES), now_s)
        self._spent.move_to_end(source)
        while len(self._spent) > MAX_SOURCES:
            self._spent.popitem(last=False)

    def _level(self, source: str, now_s: float) -> float:
        level, at_s = self._spent.get(source, (0.0, now_s))
        return max(0.0, level - (now_s - at_s) * FAILURES / WINDOW_S)
