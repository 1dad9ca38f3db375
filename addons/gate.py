"""Request hooks: head and body go to the pipeline; its step is done to the flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from addons.flows import answer, apply, exchange_of, handler_of, raw_head, response_head
from proxy.errors import Answer, Denial
from proxy.exchange import EXCHANGE_KEY, HOLD_KEY, INVALID_KEY, RETRIES_KEY, RETRY_KEY, Forward, Hold

if TYPE_CHECKING:
    from mitmproxy.http import HTTPFlow

    from proxy.pipeline import Pipeline

GONE_KEY: Final = "briefcased.gone"
"""Set when the agent left before the gate began."""


class Gate:
    """Decides in `requestheaders`; `request` only matters for bodies that a rule asked to hold."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline: Final = pipeline

    async def requestheaders(self, flow: HTTPFlow) -> None:
        """mitmproxy's hook."""
        handler = handler_of(flow.client_conn)
        exchange = self._pipeline.begin(handler.tunnel)
        exchange.client_gone = GONE_KEY in flow.metadata
        flow.metadata[EXCHANGE_KEY] = exchange
        flow.metadata["briefcased.http10"] = flow.request.http_version == "HTTP/1.0"
        handler.open_exchanges.add(exchange)
        invalid = flow.metadata.get(INVALID_KEY)
        if isinstance(invalid, Denial):
            self._do(flow, await self._pipeline.refuse(exchange, invalid))
        else:
            step = await self._pipeline.on_head(exchange, raw_head(flow), sni=flow.client_conn.sni)
            self._do(flow, step)

    async def request(self, flow: HTTPFlow) -> None:
        """mitmproxy's hook: runs after a streamed body too, when nothing is left to decide."""
        if HOLD_KEY in flow.metadata and not flow.request.stream:
            exchange = exchange_of(flow)
            content = flow.request.raw_content or b""
            self._do(flow, await self._pipeline.on_body(exchange, content))

    async def sidecar_retry(self, flow: HTTPFlow) -> None:
        """Our own hook: a 401 or 402 is complete."""
        exchange = exchange_of(flow)
        forward = await self._pipeline.on_challenge(exchange, response_head(flow, end_stream=False))
        if forward is not None:
            apply(flow, forward)
            flow.metadata[RETRY_KEY] = True

    def sidecar_client_gone(self, flow: HTTPFlow) -> None:
        """Our own hook: the agent left while we were deciding."""
        flow.metadata[GONE_KEY] = True
        if EXCHANGE_KEY in flow.metadata:
            exchange_of(flow).leave()

    @staticmethod
    def _do(flow: HTTPFlow, step: Denial | Hold | Answer | Forward) -> None:
        match step:
            case Denial() | Answer():
                answer(flow, step)
            case Hold():
                flow.metadata[HOLD_KEY] = step.max_bytes
            case Forward():
                apply(flow, step)
                if step.retries:
                    flow.metadata[RETRIES_KEY] = step.retries
