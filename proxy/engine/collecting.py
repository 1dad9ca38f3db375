"""An answer that is held whole before the agent gets anything of it: fresh secrets are taken out first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mitmproxy.proxy.layers.http import DropStream
from mitmproxy.proxy.layers.http._events import HttpEvent, ResponseData, ResponseEndOfMessage

from proxy.engine.commands import SidecarCollectedHook, WatchStream
from proxy.engine.refusing import RefusingStream
from proxy.errors import Denial

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitmproxy.proxy import commands

    from proxy.exchange import Exchange

    type Steps[T] = Generator[commands.Command, object, T]

TOO_LARGE: Final = Denial(
    "response_withheld", "The reply is too large to be checked before the agent gets it.", by="engine"
)
NOT_TAKEN: Final = Denial("response_withheld", "The reply could not be checked before the agent gets it.", by="engine")


def _counted(exchange: Exchange | None, data: bytes) -> bool:
    """Note that these bytes have come, whatever becomes of them; whether they are no more than was reserved (K-10)."""
    meter = exchange.meter if exchange is not None else None
    return meter is None or exchange is None or meter.came(len(data), b"", request_bytes=exchange.request_bytes)


class CollectingStream(RefusingStream):
    """See the module. A part of an answer never leaves: it is replaced, or refused."""

    def _collect(self, timeout_s: float) -> Steps[None]:
        self.response_body_buf.clear()
        self.server_state = self.state_collect
        yield WatchStream(self, timeout_s)

    def state_collect(self, event: HttpEvent) -> Steps[None]:
        """Hold the body up to its ceiling, then ask the addons what the agent gets."""
        exchange = self.exchange
        limit = exchange.collect if exchange is not None and exchange.collect is not None else 0
        if isinstance(event, ResponseData):
            if len(self.response_body_buf) + len(event.data) > limit or not _counted(exchange, event.data):
                self.response_body_buf.clear()
                yield from self._drop_upstream()
                yield from self._answer(TOO_LARGE)
                return
            self.response_body_buf += event.data
        elif isinstance(event, ResponseEndOfMessage):
            yield from self._collected()

    def _collected(self) -> Steps[None]:
        assert self.flow.response is not None
        yield WatchStream(self, None)
        self.flow.response.data.content = bytes(self.response_body_buf)
        self.response_body_buf.clear()
        yield SidecarCollectedHook(self.flow)
        self.flow.response.data.content = None
        if self.alias is not None:
            yield DropStream(self.alias)
        if not (yield from self.check_killed(emit_error_hook=True)):
            yield from self._answer(NOT_TAKEN)
