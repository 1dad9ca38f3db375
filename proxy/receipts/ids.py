"""Receipt ids: `rcp_` and 26 characters that sort by time (Crockford base 32, as ULID)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.clock import Clock

PREFIX: Final = "rcp_"
_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(a + b for a in _DIGITS for b in _DIGITS)
_RANDOM_BITS: Final = 80


class ReceiptIds:
    """Ids of one process: never twice, never out of order."""

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self._last = 0

    def new(self) -> str:
        """The next id: 48 bits of time in milliseconds, 80 random bits."""
        number = (self._clock.wall_ms() << _RANDOM_BITS) | int.from_bytes(os.urandom(_RANDOM_BITS // 8))
        self._last = number = max(number, self._last + 1)
        return PREFIX + "".join([_PAIRS[(number >> shift) & 0x3FF] for shift in range(120, -1, -10)])
