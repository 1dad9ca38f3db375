"""One request and its response in the mitmproxy lane: dials only what was decided, bounds what the agent sends.

`SidecarStream` replaces mitmproxy's `HttpStream`. What it changes, each with a contract test in `tests/engine/`:

- no upstream connection without a decided exchange whose canonical head is exactly what is about to be sent;
- what an agent pushes while we decide is bounded; that it went away is told;
- a request has ceilings of size and time;
- `responding`: an answer is never buffered, and is cut when the firewall says so;
- `refusing`: a refusal is sent at once, every failure becomes one of our documents, nothing cut looks finished;
- `websocket`: an upgraded stream relays messages;
- `challenge`: a challenge (401, 402) can be answered inside the stream, unseen by the agent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mitmproxy import flow as mflow
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http import DropStream, HttpErrorHook
from mitmproxy.proxy.layers.http._events import (
    HttpEvent,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
)

from proxy.engine.commands import KeyedConnection, PauseAgent, SidecarClientGoneHook, StreamTooLate, WatchStream
from proxy.engine.failure import denial_for
from proxy.engine.refusing import NO_DECISION
from proxy.engine.responding import RespondingStream
from proxy.errors import Denial, Refused
from proxy.exchange import HOLD_KEY, Exchange

if TYPE_CHECKING:
    from collections.abc import Generator

    type Steps[T] = Generator[commands.Command, object, T]

MAX_HELD_BYTES: Final = 256 * 1024
"""What an agent may push while its request is being decided or dialled, before we stop reading."""


class SidecarStream(RespondingStream):
    """See the module."""

    holding = False
    held_bytes = 0
    sent_bytes = 0

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
        elif self.server_state in (self.state_wait_for_response_headers, self.state_collect) and not self.answered:
            yield from self._drop_upstream()
            yield from self._answer(denial_for("timeout"))

    # -- request -------------------------------------------------------------------------------------------------

    def state_wait_for_request_headers(self, event: RequestHeaders) -> Steps[None]:
        """As mitmproxy, remembering whether a body follows."""
        self.bodyless = event.end_stream
        yield from super().state_wait_for_request_headers(event)
        if self.client_state == self.state_consume_request_body and not self.bodyless:
            yield WatchStream(self, self.context.options.held_body_timeout_s)

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
        try:
            filtered = self._filtered(event)
        except Refused as refused:
            yield from self._drop_upstream()
            yield from self._answer(refused.denial)
            return
        for part in filtered:
            yield from super().state_stream_request_body(part)
        if isinstance(event, RequestEndOfMessage) and self.server_state == self.state_wait_for_response_headers:
            exchange = self.exchange
            assert exchange is not None
            assert exchange.forward is not None
            # From the end of the request: an upload may be long.
            yield WatchStream(self, exchange.forward.response_timeout_s)

    def _filtered(self, event: HttpEvent) -> tuple[HttpEvent, ...]:
        """`event` as it leaves where the credential rewrites the body; an empty DATA frame is no end of it."""
        rewriter = self.exchange.request_filter if self.exchange is not None else None
        if rewriter is None:
            return (event,)
        if isinstance(event, RequestData):
            out = rewriter.feed(event.data) if event.data else b""
            return (RequestData(event.stream_id, out),) if out else ()
        if isinstance(event, RequestEndOfMessage) and (rest := rewriter.feed(b"")):
            return (RequestData(event.stream_id, rest), event)
        return (event,)

    def state_consume_request_body(self, event: HttpEvent) -> Steps[None]:
        """As mitmproxy, but what is held has a ceiling."""
        if isinstance(event, RequestData):
            limit = self.flow.metadata.get(HOLD_KEY, 0)
            if len(self.request_body_buf) + len(event.data) > limit:
                yield from self._too_large()
                return
        elif isinstance(event, RequestEndOfMessage) and not self.bodyless:
            yield WatchStream(self, None)
        elif isinstance(event, RequestEndOfMessage) and self.exchange is not None and self.exchange.forward is not None:
            self.request_body_buf += self.exchange.forward.body or b""  # ours, where the agent sent none
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
        exchange.dialled = True
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
