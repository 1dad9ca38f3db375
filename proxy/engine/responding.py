"""How a stream of the mitmproxy lane gives an answer on: never buffered, cut when the firewall says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mitmproxy.proxy import commands
from mitmproxy.proxy.layers.http import DropStream, HttpResponseHeadersHook, SendHttp
from mitmproxy.proxy.layers.http._events import HttpEvent, ResponseData, ResponseEndOfMessage, ResponseHeaders

from proxy.engine.collecting import CollectingStream
from proxy.engine.commands import WatchStream
from proxy.engine.refusing import LINGER_S
from proxy.errors import Denial
from proxy.exchange import RESPONSE_BODYLESS_KEY

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitmproxy import http

    type Steps[T] = Generator[commands.Command, object, T]


class RespondingStream(CollectingStream):
    """See the module. `early_end`: the answer was whole before the request was."""

    early_end = False

    def state_wait_for_response_headers(self, event: ResponseHeaders) -> Steps[None]:
        """As mitmproxy, but never buffered, and a challenge may be answered here."""
        yield WatchStream(self, None)
        if self._may_ask_again(event.response):
            self.challenge, self.server_state = event.response, self.state_challenge
            return
        yield from self._begin_response(event.response, end_stream=event.end_stream)

    def _begin_response(self, response: http.Response, *, end_stream: bool) -> Steps[None]:
        self.flow.response = response
        if (yield from self.check_invalid(request=False)):
            return
        self.flow.metadata[RESPONSE_BODYLESS_KEY] = end_stream
        yield HttpResponseHeadersHook(self.flow)
        if (yield from self.check_killed(emit_error_hook=True)):
            return
        exchange = self.exchange
        if exchange is None or exchange.denial is not None:
            yield from self._drop_upstream()
            withheld = Denial("response_withheld", "The answer could not be checked.", by="engine")
            yield from self._answer(withheld if exchange is None else exchange.denial or withheld)
        elif exchange.collect is not None and exchange.forward is not None:
            yield from self._collect(exchange.forward.response_timeout_s)
        elif end_stream:
            self.server_state = self.state_consume_response_body
        else:
            self.flow.response.stream = self.flow.response.stream or True
            self.answered = True
            yield from self.start_response_stream()

    def state_stream_response_body(self, event: HttpEvent) -> Steps[None]:
        """As mitmproxy, but the agent's connection is reset when the firewall says so."""
        if isinstance(event, ResponseData) and not event.data:
            return  # an empty DATA frame is no end: HTTP/2 allows it anywhere
        if isinstance(event, ResponseEndOfMessage) and self.client_state not in (self.state_done, self.state_errored):
            self.early_end = True
        generator = super().state_stream_response_body(event)
        for command in generator:
            if self._faulted():
                generator.close()
                break
            yield command
        if self._faulted():
            yield from self._cut()
        elif self.early_end:
            yield from self._end_early()

    def _end_early(self) -> Steps[None]:
        """The answer is whole although the request is not: give its end now, and take no more of the upload."""
        yield from self._drop_upstream(finished=True)
        self.client_state = self.server_state = self.state_errored
        self.flow.live = False
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)
        if not self.flow.request.is_http2:
            yield commands.RequestWakeup(LINGER_S)
        yield DropStream(self.stream_id)

    def _faulted(self) -> bool:
        exchange = self.exchange
        return exchange is None or exchange.fault is not None
