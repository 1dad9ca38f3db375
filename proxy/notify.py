"""Tells the service manager how we are: ready, reloading, stopping, alive. Without one it does nothing.

Source: sd_notify(3), systemd.service(5), `Type=notify-reload` and `WatchdogSec=`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import Final

MICROSECONDS: Final = 1_000_000
ABSTRACT: Final = "@"


class Notifier:
    """One datagram per message. A manager that does not listen is no reason to stop: errors are swallowed."""

    def __init__(self, address: str | None, watchdog_us: int | None) -> None:
        """Either may be None, as `settings.service_manager` says.

        Args:
            address: a path, or `@` and an abstract name.
            watchdog_us: microseconds within which a sign of life is wanted.
        """
        self._address: Final = address
        self._every_s: Final = watchdog_us / MICROSECONDS / 2 if watchdog_us else None

    def ready(self, status: str) -> None:
        """Everything listens, or a reload is over; `status` is one line for `systemctl status`."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload has begun; `ready` says that it is over."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The drain has begun."""
        self._send("STOPPING=1", "STATUS=draining")

    async def stay_alive(self) -> None:
        """Say in time, again and again, that the event loop turns; ends at once where nobody asked."""
        while self._every_s is not None:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._every_s)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        at = "\0" + self._address[1:] if self._address.startswith(ABSTRACT) else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto("\n".join(lines).encode(), at)
