"""HTTP/2 towards the agent: every reset is told, and their rate is bounded.

Opening and resetting streams costs an agent nothing and us a decision, a receipt and perhaps a dial each, and a stream
that is reset does not count among those that are open (CVE-2023-44487, "rapid reset"). A rate, not a total: a
long-lived connection that cancels now and then lives on.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from h2.errors import ErrorCodes
from h2.events import Event, StreamReset
from mitmproxy.proxy.layers.http._http2 import Http2Server, StreamState

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitmproxy.proxy import commands
    from mitmproxy.proxy.context import Context

    type Steps[T] = Generator[commands.Command, object, T]

RESET_BURST: Final = 200
"""Twice what may be open at once: to cancel everything is no attack."""
RESETS_PER_S: Final = 20.0


class ResetRate:
    """A token bucket of one connection."""

    def __init__(self) -> None:
        self._left = float(RESET_BURST)
        self._at_s: float | None = None

    def allows(self, now_s: float) -> bool:
        """Count one reset at `now_s` (monotonic); False when it is one too many."""
        since_s = 0.0 if self._at_s is None else now_s - self._at_s
        self._at_s = now_s
        self._left = min(RESET_BURST, self._left + since_s * RESETS_PER_S) - 1
        return self._left >= 0


class SidecarHttp2Server(Http2Server):
    """As mitmproxy, which does not hear of a reset that comes in one read with the end of its request."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._resets: Final = ResetRate()

    def handle_h2_event(self, event: Event) -> Steps[bool]:
        """mitmproxy's step."""
        return self._reset(event) if isinstance(event, StreamReset) else super().handle_h2_event(event)

    def _reset(self, event: StreamReset) -> Steps[bool]:
        self.streams.setdefault(event.stream_id, StreamState.HEADERS_RECEIVED)
        if self._resets.allows(time.monotonic()):
            return (yield from super().handle_h2_event(event))
        yield from self.protocol_error("too many resets", ErrorCodes.ENHANCE_YOUR_CALM)
        return True
