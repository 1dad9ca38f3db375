"""Time, as a thing that is handed in."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_JUMP_MS: Final = 2_000


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


def since_boot_s() -> float:
    """Seconds since the machine started, those of its sleep too where the system counts them."""
    sleeping = getattr(time, "CLOCK_BOOTTIME", None)  # Linux; `monotonic` stands still there while a laptop sleeps
    return time.monotonic() if sleeping is None else time.clock_gettime(sleeping)


class ClockWatch:
    """Whether the wall clock goes on from where it was: policies may ask for the time of day (I-13).

    A step of two seconds or more is a jump, until it is undone or accepted; what is slewed slowly is none.
    """

    def __init__(self, clock: Clock, passed_s: Callable[[], float] = since_boot_s) -> None:
        self._clock: Final = clock
        self._passed_s: Final = passed_s
        self._offset_ms = self._now_ms()

    def jumped(self) -> bool:
        """Whether it has jumped since it was right."""
        now_ms = self._now_ms()
        if abs(now_ms - self._offset_ms) >= MAX_JUMP_MS:
            return True
        self._offset_ms = now_ms
        return False

    def accept(self) -> None:
        """What it says now is right: an operator has looked."""
        self._offset_ms = self._now_ms()

    def _now_ms(self) -> float:
        return self._clock.wall_ms() - self._passed_s() * 1000
