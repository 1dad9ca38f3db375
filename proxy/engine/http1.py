"""HTTP/1 on both legs under strict, bounded grammars; mitmproxy bounds neither heads nor what lies between messages."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol, cast

import h11
from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    HttpEvent,
    RequestHeaders,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._http1 import Http1Client, Http1Connection, Http1Server, make_body_reader

from proxy.canonical.wire import END_OF_HEAD, HEAD
from proxy.engine.commands import AbortClient, WatchHalfClosed
from proxy.engine.heads import read_request, read_response
from proxy.errors import Denial

if TYPE_CHECKING:
    from collections.abc import Generator

    type Steps[T] = Generator[commands.Command, object, T]

MAX_BETWEEN_BYTES: Final = 16 * 1024
"""What chunk sizes, chunk extensions and trailers may take before a piece of body must follow."""
MAX_PIPELINED_BYTES: Final = 64 * 1024
MAX_RESPONSE_HEAD_BYTES: Final = 64 * 1024
MAX_INTERIM_ANSWERS: Final = 32
"""How many 1xx a provider may send before its answer; they end here."""


class Received(Protocol):
    """What we hang on mitmproxy's `Request`: the target as it stood on the wire, or why the head is refused."""

    raw_target: bytes
    refusal: Denial


class BoundedHttp1(Http1Connection):
    """A body is read as mitmproxy reads it, but trailers are dropped, and what lies between chunks is bounded.

    Trailers of HTTP/1 have no use in the APIs that we carry; mitmproxy cannot carry them at all (it raises).
    """

    def read_body(self, event: events.Event) -> Steps[None]:
        """mitmproxy's state."""
        assert self.stream_id is not None
        while True:
            try:
                read = (
                    self.body_reader(self.buf)
                    if isinstance(event, events.DataReceived)
                    else self.body_reader.read_eof()
                )
            except h11.ProtocolError:
                yield from self._broken("HTTP/1 protocol error")
                return
            if read is None:
                if len(self.buf) > MAX_BETWEEN_BYTES:
                    yield from self._broken("HTTP/1 protocol error: too much between two chunks")
                return
            if isinstance(read, h11.EndOfMessage):
                yield ReceiveHttp(self.ReceiveEndOfMessage(self.stream_id))
                is_request = isinstance(self, Http1Server)
                yield from self.mark_done(request=is_request, response=not is_request)
                return
            if data := bytes(read.data):
                yield ReceiveHttp(self.ReceiveData(self.stream_id, data))

    def _broken(self, message: str) -> Steps[None]:
        assert self.stream_id is not None
        yield commands.CloseConnection(self.conn)
        error = self.ReceiveProtocolError
        yield ReceiveHttp(error(self.stream_id, message, code=error.code))


class SidecarHttp1Server(BoundedHttp1, Http1Server):
    """HTTP/1 server side that reads a head under a strict, bounded grammar; mitmproxy's has no bound at all.

    A head that breaks it becomes an empty request marked with the refusal, so that the gate writes its receipt.
    """

    max_head_bytes: int
    half_closed = False
    closes = False
    """The agent asked that the connection ends after this request, or speaks HTTP/1.0 (RFC 9112, section 9.3)."""

    def read_headers(self, event: events.ConnectionEvent) -> Steps[None]:
        """mitmproxy's state; what was received is judged before it is parsed."""
        if isinstance(event, events.ConnectionClosed):
            yield commands.CloseConnection(self.conn)
            return
        data = bytes(self.buf)
        end = data.find(END_OF_HEAD, 0, self.max_head_bytes)
        if end < 0:
            if len(data) >= self.max_head_bytes:
                yield from self._refuse("header_too_large", "The request head is too large.")
            return
        head = data[: end + len(END_OF_HEAD)]
        try:
            found = HEAD.fullmatch(head)
            if found is None:
                raise ValueError
            lines = self.buf.maybe_extract_lines()
            assert lines is not None
            request = read_request([bytes(line) for line in lines])
            size = http1.expected_http_body_size(request)
            self.closes = http1.connection_close(request.http_version, request.headers)
        except ValueError:
            yield from self._refuse("malformed_request", "The request head is not valid HTTP/1.1.")
            return
        self.request = request
        cast("Received", request).raw_target = found[2]
        yield ReceiveHttp(RequestHeaders(self.stream_id, request, size == 0))
        self.body_reader = make_body_reader(size)
        self.state = self.read_body
        yield from self.state(event)

    def _refuse(self, slug: str, detail: str) -> Steps[None]:
        """Nothing more is read from this connection; the answer closes it."""
        request = http.Request("", 0, b"GET", b"", b"", b"/", b"HTTP/1.1", http.Headers(), None, None, 0, None)
        self.request = request
        cast("Received", request).refusal = Denial(slug, detail, by="engine")
        request.headers["connection"] = "close"
        self.state = self.done
        yield ReceiveHttp(RequestHeaders(self.stream_id, request, end_stream=True))
        self.request_done = True

    def send(self, event: HttpEvent) -> Steps[None]:
        """As mitmproxy, but its HTML error pages are never sent: a stream that errs here is closed."""
        if isinstance(event, ResponseProtocolError):
            event = ResponseProtocolError(event.stream_id, "closed", ErrorCode.KILL)
        elif isinstance(event, ResponseHeaders) and self.closes and event.response.status_code >= HTTPStatus.OK:
            event.response.headers["connection"] = "close"
        yield from super().send(event)

    def wait(self, event: events.Event) -> Steps[None]:
        """As mitmproxy, but an agent that has only shut its sending side still gets its answer (RFC 9112, 9.6).

        Inside TLS a close is one: half of a TLS connection cannot be told from a client that is gone.
        """
        still_there = self.conn.state is ConnectionState.CAN_WRITE and not self.conn.tls
        if isinstance(event, events.ConnectionClosed) and still_there and self.request_done:
            self.half_closed = True
            yield WatchHalfClosed()
            return
        yield from super().wait(event)

    def mark_done(self, *, request: bool = False, response: bool = False) -> Steps[None]:
        """As mitmproxy, and nothing more can come from an agent that has shut its sending side."""
        yield from super().mark_done(request=request, response=response)
        if self.half_closed and self.state == self.read_headers:
            yield commands.CloseConnection(self.conn)
            self.state = self.done

    def _handle_event(self, event: events.Event) -> Steps[None]:
        if isinstance(event, events.DataReceived):
            if self.state == self.done:
                return self._nothing()
            if self.state == self.wait:
                return self._pipelined(event)
        return super()._handle_event(event)

    def _nothing(self) -> Steps[None]:
        """Nothing more is taken from this connection."""
        yield from ()

    def _pipelined(self, event: events.DataReceived) -> Steps[None]:
        """The next request comes while this one is under way: it waits. No client sends much of it so early."""
        self.buf += event.data
        if len(self.buf) > MAX_PIPELINED_BYTES:
            yield AbortClient()


class SidecarHttp1Client(BoundedHttp1, Http1Client):
    """HTTP/1 client side whose response heads are bounded."""

    _interim = 0

    def send(self, event: HttpEvent) -> Steps[None]:
        """As mitmproxy, without what only HTTP/2 carries on."""
        if isinstance(event, RequestHeaders):
            event.request.headers.pop("te", None)
        return super().send(event)

    def read_headers(self, event: events.ConnectionEvent) -> Steps[None]:
        """mitmproxy's state; a head that does not end or is malformed is an answer that cannot be checked."""
        if not isinstance(event, events.DataReceived) or not self.request or self.stream_id is None:
            yield from super().read_headers(event)
            return
        try:
            response = self._final_head()
            size = None if response is None else http1.expected_http_body_size(self.request, response)
        except (ValueError, IndexError):
            yield from self._broken("Cannot parse HTTP response")
            return
        if response is None:
            if len(self.buf) > MAX_RESPONSE_HEAD_BYTES:
                yield from self._broken("Cannot parse HTTP response: the head is too large")
            return
        self._interim = 0
        self.response = response
        yield ReceiveHttp(ResponseHeaders(self.stream_id, response, size == 0))
        self.body_reader = make_body_reader(size)
        self.state = self.read_body
        yield from self.state(event)

    def _final_head(self) -> http.Response | None:
        """The head of the answer itself, once it is whole. Interim ones are dropped; 101 is none (RFC 9110, 15.2).

        Raises ValueError: malformed, or too many interim answers.
        """
        while (lines := self.buf.maybe_extract_lines()) is not None:
            response = read_response([bytes(line) for line in lines])
            status = response.status_code
            if not HTTPStatus.CONTINUE <= status < HTTPStatus.OK or status == HTTPStatus.SWITCHING_PROTOCOLS:
                return response
            self._interim += 1
            if self._interim > MAX_INTERIM_ANSWERS:
                raise ValueError
        return None
