"""Time, as a thing that is handed in."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where code gets the time from; durations come from `monotonic_s`, timestamps from `wall_ms`."""

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        ...

    def monotonic_s(self) -> float:
        """Seconds on a clock that never jumps."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Seconds on a clock that never jumps."""
        return time.monotonic()
