"""WebSocket control frames towards the agent: what a provider writes into them stays outside (P1)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import wsproto
from mitmproxy.proxy.layers.websocket import WebsocketConnection, WebsocketLayer
from wsproto.events import CloseConnection, Event, Ping, Pong

from proxy.engine.challenge import ChallengeStream
from proxy.engine.commands import AbortClient
from proxy.exchange import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitmproxy.connection import Connection
    from mitmproxy.proxy import commands, events
    from mitmproxy.proxy.commands import SendData

    type Steps[T] = Generator[commands.Command, object, T]

PINGS_REMEMBERED: Final = 16


class AgentSocket(WebsocketConnection):
    """The agent's side: no close reasons, no ping payloads, and no pong but the echo of the agent's own ping."""

    def __init__(self, client: Connection) -> None:
        super().__init__(wsproto.ConnectionType.SERVER, [], conn=client)
        self._pings: Final[deque[bytes]] = deque(maxlen=PINGS_REMEMBERED)

    def events(self) -> Generator[Event, None, None]:
        """As wsproto, remembering what the agent's pings hold."""
        for event in super().events():
            if isinstance(event, Ping):
                self._pings.append(bytes(event.payload))
            yield event

    def send2(self, event: Event) -> SendData:
        """As mitmproxy, without what only the provider knows."""
        if isinstance(event, CloseConnection):
            event = CloseConnection(code=event.code, reason="")
        elif isinstance(event, Ping):
            event = Ping(payload=b"")
        elif isinstance(event, Pong) and bytes(event.payload) not in self._pings:
            event = Pong(payload=b"")
        return super().send2(event)


def guard_control_frames(layer: WebsocketLayer) -> None:
    """Put `AgentSocket` in the agent's place. Call before any frame is handled."""
    if not isinstance(layer.client_ws, AgentSocket):
        layer.client_ws = AgentSocket(layer.context.client)


class UpgradedStream(ChallengeStream):
    """A stream that may become a WebSocket."""

    def passthrough(self, event: events.Event) -> Steps[None]:
        """As mitmproxy, but a WebSocket message that is not complete yet has a ceiling too."""
        socket = self.child_layer
        if isinstance(socket, WebsocketLayer) and hasattr(socket, "server_ws"):
            guard_control_frames(socket)
        yield from super().passthrough(event)
        if isinstance(socket, WebsocketLayer) and hasattr(socket, "server_ws"):
            for side in (socket.client_ws, socket.server_ws):
                if sum(map(len, side.frame_buf)) > MAX_MESSAGE_BYTES and self.exchange is not None:
                    self.exchange.fault = "message_too_large"
                    yield AbortClient()
