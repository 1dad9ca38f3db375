"""End hooks: every exchange is ended exactly once, with what became of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from addons.flows import exchange_of, handler_of
from proxy.errors import Denial
from proxy.exchange import EXCHANGE_KEY, Outcome
from proxy.websocket.fault import ABNORMAL

if TYPE_CHECKING:
    from mitmproxy.http import HTTPFlow
    from mitmproxy.tls import TlsData

    from addons.flows import Handler
    from proxy.exchange import Exchange
    from proxy.pipeline import Pipeline


_log: Final = logging.getLogger("addons.ledger")
NOT_TRUSTED: Final = Denial("ca_not_trusted", "The agent does not trust our CA.", by="tls")
LEFT: Final = Denial("agent_tls_failed", "The agent left within the handshake; it may not trust our CA.", by="tls")
FAILED: Final = Denial("agent_tls_failed", "The TLS handshake with the agent failed.", by="tls")
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

    async def tls_failed_client(self, data: TlsData) -> None:
        """mitmproxy's hook: no request will come through this tunnel, so its receipt is written here."""
        tunnel = handler_of(data.context.client).tunnel
        denial = _handshake_failure(data.conn.error or "")
        host = "-" if tunnel.authority is None else tunnel.authority.host
        _log.warning("agent %s, host %s: %s", tunnel.agent.name, host, denial.detail)
        await self._pipeline.refuse_connection(tunnel, denial)

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


def _handshake_failure(error: str) -> Denial:
    """What mitmproxy's own words for the end of a handshake mean; the alerts are those of an unknown or bad CA."""
    if error.startswith("The client does not trust"):
        return NOT_TRUSTED
    return LEFT if error.startswith("The client disconnected") else FAILED
