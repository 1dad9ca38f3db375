"""What mitmproxy has buffered for a peer whose HTTP/2 windows are shut; it has no bound of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mitmproxy.connection import Server
from mitmproxy.proxy.layers.http._http2 import Http2Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mitmproxy.connection import Client
    from mitmproxy.proxy.layer import Layer
    from mitmproxy.proxy.layers.http import HttpLayer


def backlog_bytes(http: HttpLayer, client: Client, *, towards_agent: bool) -> int:
    """Bytes of body that wait for the agent, or for all upstreams."""
    found = http.connections.get(client)
    sides = [found] if towards_agent else [side for c, side in http.connections.items() if isinstance(c, Server)]
    return sum(
        len(piece.data)
        for side in sides
        if side is not None
        for connection in _http2(side)
        for pieces in connection.h2_conn.stream_buffers.values()
        for piece in pieces
    )


def _http2(layer: Layer) -> Iterator[Http2Connection]:
    """The HTTP/2 connection in a stack of TLS and HTTP, when it is one."""
    found: Layer | None = layer
    while found is not None and not isinstance(found, Http2Connection):
        found = getattr(found, "child_layer", None)
    if found is not None:
        yield found
