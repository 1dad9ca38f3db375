"""End hooks: every exchange is ended exactly once, with what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from addons.flows import exchange_of, handler_of
from proxy.errors import Denial
from proxy.exchange import EXCHANGE_KEY, Outcome
from proxy.websocket.fault import ABNORMAL

if TYPE_CHECKING:
    from mitmproxy.http import HTTPFlow

    from addons.flows import Handler
    from proxy.exchange import Exchange
    from proxy.pipeline import Pipeline


CUT_SHORT: Final = Denial("malformed_request", "The request ended before it was complete.", by="engine")


class Ledger:
    """Closes the books."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline: Final = pipeline

    def response(self, flow: HTTPFlow) -> None:
        """mitmproxy's hook: the whole answer, theirs or ours, is on its way."""
        if flow.websocket is None and EXCHANGE_KEY in flow.metadata:
            self._end(flow, self._after_answer(exchange_of(flow)))

    async def error(self, flow: HTTPFlow) -> None:
        """mitmproxy's hook: one side went away, the engine refused, or we cut."""
        if EXCHANGE_KEY not in flow.metadata:
            return
        exchange = exchange_of(flow)
        if not exchange.decided and not exchange.deciding:  # it ended while its body was held: that is its decision
            await self._pipeline.refuse(exchange, exchange.denial or CUT_SHORT)
        if exchange.denial is not None:
            outcome = self._after_answer(exchange)
        elif exchange.fault is not None:
            outcome = Outcome.RESPONSE_ABORTED
        elif flow.error is not None and flow.error.msg == "upstream aborted":
            outcome = Outcome.UPSTREAM_ABORTED
        else:
            outcome = Outcome.CLIENT_ABORTED
        self._end(flow, outcome)

    def websocket_end(self, flow: HTTPFlow) -> None:
        """mitmproxy's hook; our own layer runs it once, when both sides have closed or one is lost."""
        exchange = exchange_of(flow)
        assert flow.websocket is not None
        exchange.close_code = flow.websocket.close_code
        if exchange.fault is not None:
            outcome = Outcome.RESPONSE_ABORTED
        elif exchange.close_code != ABNORMAL:
            outcome = Outcome.COMPLETED
        elif flow.websocket.closed_by_client:
            outcome = Outcome.CLIENT_ABORTED
        else:
            outcome = Outcome.UPSTREAM_ABORTED
        self._end(flow, outcome)

    async def connection_ended(self, handler: Handler) -> None:
        """Our own hook: what is still open on a connection that is gone was aborted with it."""
        for exchange in list(handler.open_exchanges):
            if not exchange.decided and not exchange.deciding:
                await self._pipeline.refuse(exchange, exchange.denial or CUT_SHORT)
            self._pipeline.on_end(exchange, Outcome.RESPONSE_ABORTED if exchange.fault else Outcome.CLIENT_ABORTED)
        handler.open_exchanges.clear()

    @staticmethod
    def _after_answer(exchange: Exchange) -> Outcome:
        if exchange.denial is None:
            return Outcome.COMPLETED
        if exchange.dialled_address is None:
            return Outcome.NOT_SENT
        if exchange.denial.slug == "response_withheld":
            return Outcome.RESPONSE_WITHHELD
        return Outcome.UPSTREAM_ABORTED

    def _end(self, flow: HTTPFlow, outcome: Outcome) -> None:
        exchange = exchange_of(flow)
        self._pipeline.on_end(exchange, outcome)
        handler_of(flow.client_conn).open_exchanges.discard(exchange)
