"""One request and its response in the mitmproxy lane: fails closed, answers early, can ask again.

`SidecarStream` replaces mitmproxy's `HttpStream`. What it changes, each with a contract test in `tests/engine/`:

- a refusal set in `requestheaders` is sent at once; mitmproxy would first read the whole body into memory;
- no upstream connection without a decided exchange whose canonical head is exactly what is about to be sent;
- what an agent pushes while we decide is bounded; that it went away is told;
- every error becomes one of our problem documents, none of mitmproxy's pages leaves;
- an answer that has begun is cut by a reset, never ended cleanly;
- a challenge (401, 402) can be answered inside the stream, unseen by the agent.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from mitmproxy import flow as mflow
from mitmproxy import http
from mitmproxy.net.http.validate import validate_headers
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http import (
    DropStream,
    HttpErrorHook,
    HttpRequestHeadersHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
    SendHttp,
    validate_request,
)
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    HttpEvent,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)

from proxy.engine.commands import (
    AbortClient,
    KeyedConnection,
    PauseAgent,
    SidecarClientGoneHook,
    StreamTooLate,
    WatchStream,
)
from proxy.engine.failure import denial_for
from proxy.engine.websocket import UpgradedStream
from proxy.errors import Denial, render
from proxy.exchange import (
    ANSWER_KEY,
    BODYLESS_KEY,
    HOLD_KEY,
    INVALID_KEY,
    RESPONSE_BODYLESS_KEY,
    Exchange,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitmproxy.connection import Server as ServerConnection

    type Steps[T] = Generator[commands.Command, object, T]

MAX_HELD_BYTES: Final = 256 * 1024
"""What an agent may push while its request is being decided or dialled, before we stop reading."""
LINGER_S: Final = 2.0
"""How long an early answer may be read before the connection closes under a client that still uploads."""
UNCLEAR: Final = frozenset({"malformed_request", "ambiguous_request"})
"""After these nobody knows where the next request of an HTTP/1 connection begins."""
NO_DECISION: Final = Denial("policy_unavailable", "This request has no decision.", by="engine")


class SidecarStream(UpgradedStream):
    """See the module."""

    holding = False
    held_bytes = 0
    sent_bytes = 0
    answered = False
    early_end = False

    # Where nothing is added, mitmproxy's generator is handed on as it is: one of our own would cost at every command.

    def handle_event(self, event: events.Event) -> Steps[None]:
        """Bound what arrives while we decide or dial, and tell when the agent is gone."""
        return self._handle_paused(event) if self._paused else super().handle_event(event)

    def _handle_paused(self, event: events.Event) -> Steps[None]:
        if isinstance(event, RequestData):
            self.held_bytes += len(event.data)
            if self.held_bytes > MAX_HELD_BYTES and not self.holding:
                self.holding = True
                yield PauseAgent(self, paused=True)
        elif isinstance(event, RequestProtocolError) and hasattr(self, "flow"):
            yield SidecarClientGoneHook(self.flow)
        yield from super().handle_event(event)
        if self.holding and not self._paused:
            self.holding, self.held_bytes = False, 0
            yield PauseAgent(self, paused=False)

    def _handle_event(self, event: events.Event) -> Steps[None]:
        if isinstance(event, events.Wakeup):  # the end of the linger after an early answer
            return self._end_linger()
        if isinstance(event, StreamTooLate):
            return self._too_late()
        if isinstance(event, RequestTrailers):  # nobody decided on them (B-10)
            return self._nothing()
        if self.alias is not None and isinstance(event, HttpEvent) and event.stream_id == self.alias:
            event.stream_id = self.stream_id
        following: Steps[None] = super()._handle_event(event)
        return following

    def _nothing(self) -> Steps[None]:
        yield from ()

    def _too_late(self) -> Steps[None]:
        if self.client_state == self.state_consume_request_body and not self.answered:
            yield from self._answer(Denial("request_timeout", "The body did not come in time.", by="engine"))
        elif self.server_state == self.state_wait_for_response_headers and not self.answered:
            yield from self._drop_upstream()
            yield from self._answer(denial_for("timeout"))

    def _end_linger(self) -> Steps[None]:
        yield commands.CloseConnection(self.context.client)

    # -- request -------------------------------------------------------------------------------------------------

    def state_wait_for_request_headers(self, event: RequestHeaders) -> Steps[None]:
        """As mitmproxy, remembering whether a body follows."""
        self.bodyless = event.end_stream
        yield from super().state_wait_for_request_headers(event)
        if self.client_state == self.state_consume_request_body and not self.bodyless:
            yield WatchStream(self, self.context.options.held_body_timeout_s)

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
        denial = self.flow.metadata.pop(ANSWER_KEY, None)
        if isinstance(denial, Denial):
            yield from self._answer(denial)
            return True
        return False

    def state_stream_request_body(self, event: HttpEvent) -> Steps[None]:
        """As mitmproxy, with the operation's ceiling."""
        if isinstance(event, RequestData):
            exchange = self.exchange
            self.sent_bytes += len(event.data)
            if exchange is None or exchange.forward is None:
                yield from self._answer(NO_DECISION)
                return
            exchange.request_bytes = self.sent_bytes
            if self.sent_bytes > exchange.forward.max_body_bytes:
                yield from self._too_large()
                return
        yield from super().state_stream_request_body(event)
        if isinstance(event, RequestEndOfMessage) and self.server_state == self.state_wait_for_response_headers:
            exchange = self.exchange
            assert exchange is not None
            assert exchange.forward is not None
            # From the end of the request: an upload may be long.
            yield WatchStream(self, exchange.forward.response_timeout_s)

    def state_consume_request_body(self, event: HttpEvent) -> Steps[None]:
        """As mitmproxy, but what is held has a ceiling."""
        if isinstance(event, RequestData):
            limit = self.flow.metadata.get(HOLD_KEY, 0)
            if len(self.request_body_buf) + len(event.data) > limit:
                yield from self._too_large()
                return
        elif isinstance(event, RequestEndOfMessage) and not self.bodyless:
            yield WatchStream(self, None)
        yield from super().state_consume_request_body(event)

    def _too_large(self) -> Steps[None]:
        yield from self._drop_upstream()
        yield from self._answer(Denial("request_too_large", "The body is larger than allowed.", by="engine"))

    def make_server_connection(self) -> Steps[bool]:
        """The positive gate: dial only for a decided exchange, and only what was decided."""
        exchange = self.exchange
        if exchange is None or not exchange.decided or exchange.forward is None or not self._is_as_decided(exchange):
            yield from self._answer(NO_DECISION)
            return False
        if exchange.client_gone:
            yield from self._give_up()
            return False
        dial = exchange.forward.dial
        command = KeyedConnection((dial.authority.host, dial.authority.port), dial.tls, None, "tcp")
        command.dial = dial
        reply = yield command
        if exchange.client_gone:
            yield from self._give_up()
            return False
        assert isinstance(reply, tuple)
        connection, error = reply
        if error:
            yield from self._answer(denial_for(error))
            return False
        self.context.server = self.flow.server_conn = connection
        exchange.dialled_address = connection.peername[0] if connection.peername else None
        if (
            connection.alpn != b"h2"
            and exchange.forward.head.has_body
            and "content-length" not in self.flow.request.headers
        ):
            self.flow.request.headers["transfer-encoding"] = "chunked"
        if not self.flow.request.stream:
            yield WatchStream(self, exchange.forward.response_timeout_s)
        return True

    def _give_up(self) -> Steps[None]:
        """The agent went away while we decided or dialled: nothing is sent for it."""
        self.flow.error = mflow.Error("agent gone")
        yield HttpErrorHook(self.flow)
        self.client_state = self.server_state = self.state_errored
        self.flow.live = False
        yield DropStream(self.stream_id)

    def _is_as_decided(self, exchange: Exchange) -> bool:
        assert exchange.forward is not None
        head, request = exchange.forward.head, self.flow.request
        target = head.path if head.query is None else f"{head.path}?{head.query}"
        return (request.method, request.scheme, request.host, request.port, request.path) == (
            head.method,
            head.scheme,
            head.authority.host,
            head.authority.port,
            target,
        )

    # -- response ------------------------------------------------------------------------------------------------

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

    # -- refusing, failing, cutting ------------------------------------------------------------------------------

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
        answer = render(denial, receipt=None if exchange is None else exchange.id)
        reason = HTTPStatus(answer.status).phrase.encode()
        headers = http.Headers(answer.headers)
        if denial.slug in UNCLEAR and not self.flow.request.is_http2:
            headers["connection"] = "close"
        self.flow.response = http.Response(b"HTTP/1.1", answer.status, reason, headers, answer.body, None, 0, 0)
        self.flow.error = mflow.Error(denial.slug)
        yield HttpErrorHook(self.flow)
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
