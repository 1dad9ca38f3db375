"""Response hooks: the head is checked, the body passes the scanner chunk by chunk, trailers too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mitmproxy import http

from addons.flows import apply_response, exchange_of, response_head
from proxy.errors import Denial
from proxy.exchange import ANSWER_KEY, RESPONSE_BODYLESS_KEY, Collect, Cut

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.exchange import Exchange
    from proxy.pipeline import Pipeline


class Firewall:
    """What may come back."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline: Final = pipeline

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """mitmproxy's hook. A denial is left on the exchange; the stream answers with it."""
        exchange = exchange_of(flow)
        end_stream = bool(flow.metadata.get(RESPONSE_BODYLESS_KEY, False))
        relay = self._pipeline.on_response_head(exchange, response_head(flow, end_stream=end_stream))
        if isinstance(relay, Denial):
            exchange.denial = relay
            return
        if isinstance(relay, Collect):  # `exchange.collect` tells the stream
            return
        apply_response(flow, relay.headers, end_stream=end_stream)
        assert flow.response is not None
        flow.response.stream = self._chunks(exchange)

    async def sidecar_collected(self, flow: http.HTTPFlow) -> None:
        """Our own hook: an answer that is held is whole."""
        assert flow.response is not None
        flow.metadata[ANSWER_KEY] = await self._pipeline.on_reply(exchange_of(flow), flow.response.raw_content or b"")

    def _chunks(self, exchange: Exchange) -> Callable[[bytes], bytes | list[bytes]]:
        def pass_on(data: bytes) -> bytes | list[bytes]:
            result = self._pipeline.on_response_chunk(exchange, data)
            if isinstance(result, Cut) or not result:
                return []
            return result

        return pass_on

    def response(self, flow: http.HTTPFlow) -> None:
        """mitmproxy's hook: trailers are sent after it."""
        if flow.response is not None and flow.response.trailers:
            fields = tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in flow.response.trailers.fields)
            clean = self._pipeline.on_trailers(exchange_of(flow), fields)
            flow.response.trailers = http.Headers([(n.encode("latin-1"), v.encode("latin-1")) for n, v in clean])
