"""The flat layer stack: client TLS, then HTTP; upstream connections keyed by identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

from mitmproxy.connection import Server
from mitmproxy.proxy import commands, events, layer, tunnel
from mitmproxy.proxy.layers import ClientTLSLayer, ServerTLSLayer
from mitmproxy.proxy.layers.http import (
    GetHttpConnection,
    GetHttpConnectionCompleted,
    HttpClient,
    HttpLayer,
    HTTPMode,
    RegisterHttpConnection,
)
from mitmproxy.proxy.layers.http._http2 import Http2Client

from proxy.engine.commands import KeyedConnection, StreamTooLate
from proxy.engine.http1 import SidecarHttp1Client, SidecarHttp1Server
from proxy.engine.http2 import SidecarHttp2Server
from proxy.engine.stream import SidecarStream

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitmproxy.connection import Connection
    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.layers.http._base import HttpConnection

    from proxy.exchange import Dial

    type Steps[T] = Generator[commands.Command, object, T]

MAX_IDLE_UPSTREAMS: Final = 4
NOWHERE: Final = ("origin.invalid", 80)
"""Where mitmproxy believes that requests in origin form go, until the head is decided (RFC 2606, section 2)."""


class Bound(Protocol):
    """What we hang on mitmproxy's `Server`: the dial it was opened for."""

    dial: Dial


def dial_of(connection: Connection) -> Dial:
    """The dial that `connection` was created for. Raises AttributeError for a connection that we did not create."""
    return cast("Bound", connection).dial


class Root(layer.Layer):
    """Stands first in the stack because mitmproxy's client TLS layer looks at the layer before itself."""

    def _handle_event(self, event: events.Event) -> Steps[None]:  # noqa: ARG002
        raise AssertionError("the root layer is never driven")


class SidecarHttpLayer(HttpLayer):
    """mitmproxy's HTTP layer with our stream, our HTTP/1 server and upstream connections that carry their dial."""

    def __init__(self, context: Context, mode: HTTPMode, *, max_head_bytes: int) -> None:
        super().__init__(context, mode)
        self._max_head_bytes: Final = max_head_bytes

    # The following two hand mitmproxy's generator on as it is: a generator of our own would cost at every command.

    def _handle_event(self, event: events.Event) -> Steps[None]:
        if isinstance(event, StreamTooLate):
            return self.event_to_child(cast("SidecarStream", event.stream), event)
        if isinstance(event, events.Start):
            self.connections[self.context.client] = self._agent_side()
        following: Steps[None] = super()._handle_event(event)
        return following

    def _agent_side(self) -> HttpConnection:
        if self.context.client.alpn == b"h2":
            return SidecarHttp2Server(self.context.fork())
        server = SidecarHttp1Server(self.context.fork())
        server.max_head_bytes = self._max_head_bytes
        return server

    def make_stream(self, stream_id: int) -> Steps[None]:
        """Our stream instead of mitmproxy's."""
        stream = SidecarStream(self.context.fork(), stream_id)
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> Steps[None]:
        """A connection of an equal dial: one that is open or being opened, else a new one, which carries its dial."""
        assert isinstance(event, KeyedConnection)
        for connection in [c for c in self.connections if event.connection_spec_matches(c)]:
            if connection in self.waiting_for_establishment:
                self.waiting_for_establishment[connection].append(event)
                return
            if connection.error:
                del self.connections[connection]  # a dial that failed says nothing about the next one
            elif reuse and connection.connected and (connection.alpn == b"h2" or self.context.client.alpn != b"h2"):
                stream = self.command_sources.pop(event)
                yield from self.event_to_child(stream, GetHttpConnectionCompleted(event, (connection, None)))
                return
        yield from self._close_idle()
        yield from self._connect(event)

    def _connect(self, event: KeyedConnection) -> Steps[None]:
        context = self.context.fork()
        context.server = server = Server(address=event.address, transport_protocol="tcp")
        cast("Bound", server).dial = event.dial
        stack = tunnel.LayerStack()
        if event.tls:
            server.sni = event.dial.authority.host
            stack /= ServerTLSLayer(context)
        stack /= SidecarHttpClient(context)
        self.connections[server] = stack[0]
        self.waiting_for_establishment[server].append(event)
        yield from self.event_to_child(stack[0], events.Start())

    def _close_idle(self) -> Steps[None]:
        """A plain connection may name many hosts: few of their connections are kept without use."""
        used = {stream.context.server for stream in self.streams.values()}
        servers = [c for c in self.connections if isinstance(c, Server) and c.connected and c not in used]
        for connection in servers[: max(0, len(servers) - MAX_IDLE_UPSTREAMS)]:
            yield commands.CloseConnection(connection)


class SidecarHttpClient(HttpClient):
    """mitmproxy's choice of protocol once an upstream connection is open, with our HTTP/1 client."""

    def _handle_event(self, event: events.Event) -> Steps[None]:
        server = self.context.server
        error = cast("str | None", (yield commands.OpenConnection(server)))
        if not error:
            h2 = server.alpn == b"h2"
            self.child_layer = Http2Client(self.context) if h2 else SidecarHttp1Client(self.context)
            self._handle_event = self.child_layer.handle_event  # type: ignore[method-assign]
            yield from self._handle_event(event)
        yield RegisterHttpConnection(server, error)


def tls_stack(context: Context, *, max_head_bytes: int) -> layer.Layer:
    """Client TLS, then HTTP, for a connection whose CONNECT the front has answered."""
    Root(context)
    top = ClientTLSLayer(context)
    top.child_layer = SidecarHttpLayer(context, HTTPMode.transparent, max_head_bytes=max_head_bytes)
    return top


def plain_stack(context: Context, *, max_head_bytes: int, absolute: bool) -> layer.Layer:
    """HTTP alone: for requests in absolute form, or for those in origin form."""
    Root(context)
    if absolute:
        return SidecarHttpLayer(context, HTTPMode.regular, max_head_bytes=max_head_bytes)
    context.server.address, context.server.tls = NOWHERE, False  # the decided head names the destination
    return SidecarHttpLayer(context, HTTPMode.transparent, max_head_bytes=max_head_bytes)


def http_in(context: Context) -> SidecarHttpLayer | None:
    """The HTTP layer of a stack; None while the agent's handshake is not complete."""
    return next((found for found in context.layers if isinstance(found, SidecarHttpLayer)), None)


def head_has_begun(context: Context) -> bool:
    """Whether the agent has begun a handshake, or an HTTP/1 head, that is not complete."""
    client, http = context.client, http_in(context)
    if client.tls and not client.tls_established:
        return True
    http1 = None if http is None else http.connections.get(client)
    return isinstance(http1, SidecarHttp1Server) and http1.state == http1.read_headers and bool(http1.buf)
