"""The flat layer stack: client TLS, then HTTP; upstream connections keyed by identity."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol, cast

from mitmproxy import http
from mitmproxy.connection import Server
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers import ClientTLSLayer
from mitmproxy.proxy.layers.http import GetHttpConnection, HttpLayer, HTTPMode
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    HttpEvent,
    RequestHeaders,
    RequestProtocolError,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._http1 import Http1Server, make_body_reader

from proxy.engine.commands import KeyedConnection
from proxy.engine.stream import SidecarStream
from proxy.errors import Denial

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitmproxy.connection import Connection
    from mitmproxy.proxy.context import Context

    from proxy.exchange import Dial

    type Steps[T] = Generator[commands.Command, object, T]

MAX_RESETS: Final = 200
"""Streams an agent may reset on one HTTP/2 connection before it is closed (CVE-2023-44487)."""


END_OF_HEAD: Final = b"\r\n\r\n"
STRICT_HEAD: Final = re.compile(rb"[!-~]+ [!-~]+ HTTP/1\.[01]\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\x00]*\r\n)*\r\n")
"""RFC 9112, sections 3 and 5: no bare CR or LF, no folded lines, no space before the colon, no empty names."""


class Bound(Protocol):
    """What we hang on mitmproxy's `Server`: the dial it was opened for."""

    dial: Dial


def dial_of(connection: Connection) -> Dial:
    """The dial that `connection` was created for. Raises AttributeError for a connection that we did not create."""
    return cast("Bound", connection).dial


class Received(Protocol):
    """What we hang on mitmproxy's `Request`: the target as it stood on the wire, or why the head is refused."""

    raw_target: bytes
    refusal: Denial


class Root(layer.Layer):
    """Stands first in the stack because mitmproxy's client TLS layer looks at the layer before itself."""

    def _handle_event(self, event: events.Event) -> Steps[None]:  # noqa: ARG002
        raise AssertionError("the root layer is never driven")


class SidecarHttp1Server(Http1Server):
    """HTTP/1 server side that reads a head under a strict, bounded grammar; mitmproxy's has no bound at all.

    A head that breaks it becomes an empty request marked with the refusal, so that the gate writes its receipt.
    """

    max_head_bytes: int

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
            if not STRICT_HEAD.fullmatch(head):
                raise ValueError
            lines = self.buf.maybe_extract_lines()
            assert lines is not None
            request = http1.read_request_head([bytes(line) for line in lines])
            size = http1.expected_http_body_size(request)
        except ValueError:
            yield from self._refuse("malformed_request", "The request head is not valid HTTP/1.1.")
            return
        self.request = request
        cast("Received", request).raw_target = head.split(b" ", 2)[1]
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
        yield from super().send(event)


class SidecarHttpLayer(HttpLayer):
    """mitmproxy's HTTP layer with our stream, our HTTP/1 server and upstream connections that carry their dial."""

    def __init__(self, context: Context, mode: HTTPMode, *, max_head_bytes: int) -> None:
        super().__init__(context, mode)
        self._max_head_bytes: Final = max_head_bytes
        self._resets = 0

    # The following two hand mitmproxy's generator on as it is: a generator of our own would cost at every command.

    def _handle_event(self, event: events.Event) -> Steps[None]:
        if isinstance(event, events.Start) and self.context.client.alpn != b"h2":
            server = SidecarHttp1Server(self.context.fork())
            server.max_head_bytes = self._max_head_bytes
            self.connections[self.context.client] = server
        return super()._handle_event(event)

    def event_to_child(self, child: layer.Layer, event: events.Event) -> Steps[None]:
        """As mitmproxy, and count the streams that the agent resets."""
        if isinstance(event, RequestProtocolError):
            return self._count_reset(child, event)
        return super().event_to_child(child, event)

    def _count_reset(self, child: layer.Layer, event: events.Event) -> Steps[None]:
        yield from super().event_to_child(child, event)
        self._resets += 1
        if self._resets == MAX_RESETS and self.context.client.alpn == b"h2":
            yield commands.CloseConnection(self.context.client)

    def make_stream(self, stream_id: int) -> Steps[None]:
        """Our stream instead of mitmproxy's."""
        stream = SidecarStream(self.context.fork(), stream_id)
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> Steps[None]:
        """As mitmproxy, and hang the dial on the connection it creates."""
        assert isinstance(event, KeyedConnection)
        before = set(self.connections)
        generator = super().get_connection(event, reuse=reuse)
        for command in generator:
            self._bind(before, event.dial)
            yield command
        self._bind(before, event.dial)

    def _bind(self, before: set[Connection], dial: Dial) -> None:
        for connection in self.connections:
            if connection not in before and isinstance(connection, Server) and not hasattr(connection, "dial"):
                cast("Bound", connection).dial = dial


def tls_stack(context: Context, *, max_head_bytes: int) -> layer.Layer:
    """Client TLS, then HTTP, for a connection whose CONNECT the front has answered."""
    Root(context)
    top = ClientTLSLayer(context)
    top.child_layer = SidecarHttpLayer(context, HTTPMode.transparent, max_head_bytes=max_head_bytes)
    return top


def plain_stack(context: Context, *, max_head_bytes: int) -> layer.Layer:
    """HTTP alone, for absolute-form requests."""
    Root(context)
    return SidecarHttpLayer(context, HTTPMode.regular, max_head_bytes=max_head_bytes)
