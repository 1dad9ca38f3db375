"""How a stream of the mitmproxy lane refuses, fails and ends: none of mitmproxy's pages leaves, nothing looks finished.

- a refusal set in `requestheaders` is sent at once; mitmproxy would first read the whole body into memory;
- every error becomes one of our problem documents;
- an answer that has begun is cut by a reset, never ended cleanly.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from mitmproxy import flow as mflow
from mitmproxy import http
from mitmproxy.net.http.validate import validate_headers
from mitmproxy.proxy import commands
from mitmproxy.proxy.layers.http import (
    DropStream,
    HttpErrorHook,
    HttpRequestHeadersHook,
    HttpResponseHook,
    SendHttp,
    validate_request,
)
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)

from proxy.engine.commands import AbortClient, WatchStream
from proxy.engine.failure import denial_for
from proxy.engine.websocket import UpgradedStream
from proxy.errors import Answer, Denial, render
from proxy.exchange import ANSWER_KEY, BODYLESS_KEY, INVALID_KEY

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitmproxy.connection import Server as ServerConnection

    type Steps[T] = Generator[commands.Command, object, T]

LINGER_S: Final = 2.0
"""How long an early answer may be read before the connection closes under a client that still uploads."""
UNCLEAR: Final = frozenset({"malformed_request", "ambiguous_request"})
"""After these nobody knows where the next request of an HTTP/1 connection begins."""
NO_DECISION: Final = Denial("policy_unavailable", "This request has no decision.", by="engine")


class RefusingStream(UpgradedStream):
    """See the module. `answered`: the agent has been sent the head of an answer."""

    answered = False

    def handle_connect(self) -> Steps[None]:
        """A CONNECT inside a connection that the front already handed over is refused."""
        yield from self._refuse_head(Denial("method_not_allowed", "CONNECT is not possible here.", by="engine"))

    def _refuse_head(self, denial: Denial) -> Steps[None]:
        """Refuse a head that never becomes a decision of the pipeline; the gate writes its receipt."""
        self.flow.metadata[INVALID_KEY] = denial
        yield HttpRequestHeadersHook(self.flow)
        if not (yield from self.check_killed(emit_error_hook=True)):
            yield from self._answer(denial)

    def check_invalid(self, request: bool) -> Steps[bool]:  # noqa: FBT001  # mitmproxy's signature
        """As mitmproxy, but with our answer."""
        if request:
            self.flow.metadata[BODYLESS_KEY] = self.bodyless
            refusal = getattr(self.flow.request, "refusal", None)
            if isinstance(refusal, Denial):
                yield from self._refuse_head(refusal)
                return True
            if validate_request(self.mode, self.flow.request, validate_inbound_headers=True) is None:
                return False
            yield from self._refuse_head(Denial("malformed_request", "The request is not valid HTTP.", by="engine"))
            return True
        assert self.flow.response is not None
        try:
            validate_headers(self.flow.response)
        except ValueError:
            yield commands.CloseConnection(self.flow.server_conn)
            yield from self._answer(Denial("response_withheld", "The answer is not valid HTTP.", by="engine"))
            return True
        return False

    def check_killed(self, emit_error_hook: bool) -> Steps[bool]:  # noqa: FBT001  # mitmproxy's signature
        """As mitmproxy, and send an answer that an addon has set, before reading any body."""
        if (yield from super().check_killed(emit_error_hook)):
            return True
        if self.exchange is None:  # no gate has looked at this request
            yield from self._answer(NO_DECISION)
            return True
        step = self.flow.metadata.pop(ANSWER_KEY, None)
        if isinstance(step, Denial):
            yield from self._answer(step)
            return True
        if isinstance(step, Answer):
            yield from self._give(step)
            return True
        return False

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> Steps[None]:
        """An upstream that fails before its answer began gives our problem document; afterwards the agent is cut."""
        yield WatchStream(self, None)
        upstream_failed = isinstance(event, ResponseProtocolError)
        if self.alias is not None:
            if not upstream_failed and self.server_state not in (self.state_done, self.state_errored):
                yield SendHttp(RequestProtocolError(self.alias, event.message, event.code), self.context.server)
            yield DropStream(self.alias)
        client_listens = self.client_state != self.state_errored and self.server_state != self.state_done
        if upstream_failed and client_listens and hasattr(self, "flow") and self.flow.live:
            if self.answered:
                yield from self._cut()
            else:
                yield from self._answer(denial_for(event.message))
            return
        if upstream_failed:
            event = ResponseProtocolError(event.stream_id, "closed", ErrorCode.KILL)
        yield from super().handle_protocol_error(event)

    def _answer(self, denial: Denial) -> Steps[None]:
        """Refuse with a problem document, wherever the stream stands before an answer has begun."""
        exchange = self.exchange
        if exchange is not None:
            exchange.denial = exchange.denial or denial
            denial = exchange.denial
        if self.answered:
            yield from self._cut()
            return
        yield WatchStream(self, None)
        self.flow.response = _response(render(denial, receipt=None if exchange is None else exchange.id))
        if denial.slug in UNCLEAR and not self.flow.request.is_http2:
            self.flow.response.headers["connection"] = "close"
        self.flow.error = mflow.Error(denial.slug)
        yield HttpErrorHook(self.flow)
        yield from self._send_answer()

    def _give(self, answer: Answer) -> Steps[None]:
        """Send an answer of ours that is no refusal."""
        yield WatchStream(self, None)
        self.flow.response = _response(answer)
        self.flow.response.headers["content-length"] = str(len(answer.body))
        yield from self._send_answer()

    def _send_answer(self) -> Steps[None]:
        """Send `flow.response` now and swallow the rest of the request."""
        response = self.flow.response
        assert response is not None
        unread = not self.bodyless and self.client_state != self.state_done
        http1 = not self.flow.request.is_http2
        self.flow.request.stream = False
        self.flow.request.headers.pop("expect", None)
        if http1 and (unread or hasattr(self.flow.request, "refusal")):
            response.headers["connection"] = "close"
        self.client_state = self.server_state = self.state_errored
        self.answered = True
        response.http_version = "HTTP/1.1" if http1 else "HTTP/2.0"
        body = b"" if self.flow.request.method == "HEAD" else response.raw_content or b""
        yield HttpResponseHook(self.flow)
        client = self.context.client
        yield SendHttp(ResponseHeaders(self.stream_id, response, end_stream=not body), client)
        if body:
            yield SendHttp(ResponseData(self.stream_id, body), client)
        yield SendHttp(ResponseEndOfMessage(self.stream_id), client)
        self.flow.live = False
        if http1 and unread:
            yield commands.RequestWakeup(LINGER_S)  # closing at once would be a reset, which eats the answer
        yield DropStream(self.stream_id)

    def _drop_upstream(self, *, finished: bool = False) -> Steps[None]:
        server: ServerConnection = self.flow.server_conn
        under_way = self.server_state not in (self.state_uninitialized, self.state_done, self.state_errored)
        if (under_way or finished) and server.connected:
            stream_id = self.alias if self.alias is not None else self.stream_id
            yield SendHttp(RequestProtocolError(stream_id, "cut", ErrorCode.CANCEL), server)

    def _cut(self) -> Steps[None]:
        yield WatchStream(self, None)
        yield from self._drop_upstream()
        exchange = self.exchange
        self.flow.error = mflow.Error(exchange.fault if exchange is not None and exchange.fault else "upstream aborted")
        yield HttpErrorHook(self.flow)
        self.client_state = self.server_state = self.state_errored
        self.flow.live = False
        if self.flow.request.is_http2:
            yield SendHttp(ResponseProtocolError(self.stream_id, "cut", ErrorCode.KILL), self.context.client)
        else:
            yield AbortClient()
        yield DropStream(self.stream_id)

    def _end_linger(self) -> Steps[None]:
        yield commands.CloseConnection(self.context.client)


def _response(answer: Answer) -> http.Response:
    try:
        reason = HTTPStatus(answer.status).phrase.encode()
    except ValueError:
        reason = b""
    return http.Response(b"HTTP/1.1", answer.status, reason, http.Headers(answer.headers), answer.body, None, 0, 0)
