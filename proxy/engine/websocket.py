"""An open WebSocket in the mitmproxy lane: whole messages through the exchange's conversation, everything bounded.

mitmproxy's own layer keeps every message, inflates without bound, joins fragments without bound, breaks characters
when it cuts a changed message, and (wsproto 1.3.2) loses the compression of a message that a ping interrupts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import SendHttp
from mitmproxy.proxy.layers.http._events import ResponseEndOfMessage
from mitmproxy.proxy.layers.websocket import WebsocketEndHook

from proxy.engine.challenge import ChallengeStream
from proxy.engine.commands import AbortClient
from proxy.engine.pings import Pings
from proxy.exchange import EXCHANGE_KEY, Exchange
from proxy.websocket.deflate import Agreement, Deflater, Inflater, agreed
from proxy.websocket.fault import ABNORMAL, GOING_AWAY, MALFORMED, NO_STATUS, Closing, FrameError
from proxy.websocket.frames import Message, Opcode, Writer
from proxy.websocket.reader import Control, Reader

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitmproxy.connection import Connection
    from mitmproxy.http import HTTPFlow
    from mitmproxy.proxy.context import Context

    from proxy.exchange import MessageFilter

    type Steps[T] = Generator[commands.Command, object, T]

LINGER_S: Final = 3.0
"""How long a closing handshake may take before the connections are closed without its end."""
IDLE: Final = Closing(GOING_AWAY, "idle_timeout")


class Side:
    """One of the two peers: what it sends is read, what it gets is written and collected until it is sent."""

    def __init__(self, connection: Connection, reader: Reader, writer: Writer) -> None:
        self.connection: Final = connection
        self.reader: Final = reader
        self.writer: Final = writer
        self.out: list[bytes] = []
        self.closed = False
        """It has sent its close frame."""
        self.told = False
        """It was sent one."""

    def control(self, opcode: Opcode, payload: bytes) -> None:
        """Queue a control frame; none follows a close frame."""
        if not self.told:
            self.told = opcode is Opcode.CLOSE
            self.out.append(self.writer.control(opcode, payload))

    def close(self, code: int, reason: bytes = b"") -> None:
        """Queue the close frame."""
        self.control(Opcode.CLOSE, b"" if code == NO_STATUS else code.to_bytes(2) + reason)


class SocketLayer(layer.Layer):
    """Relays messages between the agent and the provider. Created when the provider's 101 has been believed."""

    def __init__(self, context: Context, flow: HTTPFlow, filter_: MessageFilter) -> None:
        super().__init__(context)
        self.flow: Final = flow
        self._filter: Final = filter_
        self._idle_s: Final = float(context.options.idle_timeout_s)
        self._heard_s = time.monotonic()
        self._pings: Final = Pings()
        self._closing: Closing | None = None
        self._deadline: commands.RequestWakeup | None = None
        self._discard_bytes = filter_.max_message_bytes
        self._agent, self._provider = self._sides()

    def _sides(self) -> tuple[Side, Side]:
        assert self.flow.response is not None
        offer = self.flow.request.headers.get("sec-websocket-extensions")
        agreement = agreed(offer, self.flow.response.headers.get_all("sec-websocket-extensions"))
        limit = self._filter.max_message_bytes
        client, server = self.context.client, self.context.server
        if agreement is None:
            return (
                Side(client, _reader(limit, None, masked=True), Writer(mask=False, deflater=None)),
                Side(server, _reader(limit, None, masked=False), Writer(mask=True, deflater=None)),
            )
        a: Agreement = agreement
        return (
            Side(
                client,
                _reader(limit, Inflater(forgets=a.client_forgets), masked=True),
                Writer(mask=False, deflater=Deflater(a.server_bits, forgets=a.server_forgets)),
            ),
            Side(
                server,
                _reader(limit, Inflater(forgets=a.server_forgets), masked=False),
                Writer(mask=True, deflater=Deflater(a.client_bits, forgets=a.client_forgets)),
            ),
        )

    # -- events --------------------------------------------------------------------------------------------------

    def _handle_event(self, event: events.Event) -> Steps[None]:
        if isinstance(event, events.Start):
            yield commands.RequestWakeup(self._idle_s / 2)
        elif isinstance(event, events.DataReceived):
            yield from self._received(*self._of(event.connection), event.data)
        elif isinstance(event, events.ConnectionClosed):
            yield from self._lost(self._of(event.connection)[0])
        elif isinstance(event, events.Wakeup):
            yield from self._woken(event)

    def _of(self, connection: Connection) -> tuple[Side, Side]:
        """Who sent, and to whom it goes."""
        pair = (self._agent, self._provider)
        return pair if connection is self._agent.connection else (pair[1], pair[0])

    def _received(self, source: Side, target: Side, data: bytes) -> Steps[None]:
        self._heard_s = time.monotonic()
        if self._closing is not None:
            self._discard_bytes -= len(data)
            if self._discard_bytes < 0:
                yield AbortClient()
                return
        try:
            for item in source.reader.feed(data):
                if source.closed:
                    break
                if isinstance(item, Control):
                    self._control(source, target, item)
                elif not target.told and (closing := self._message(source, target, item)) is not None:
                    self._refuse(closing)
        except FrameError as error:
            self._refuse(error.closing)
            if error.closing is MALFORMED:
                source.closed = True  # where its next frame begins is unknown
        yield from self._send()

    def _message(self, source: Side, target: Side, message: Message) -> Closing | None:
        judge = self._filter.from_agent if source is self._agent else self._filter.from_provider
        passed = judge(message)
        if isinstance(passed, Closing):
            return passed
        target.out.append(target.writer.message(passed))
        return None

    def _control(self, source: Side, target: Side, item: Control) -> None:
        from_agent = source is self._agent
        match item.opcode:
            case Opcode.PING:
                payload = self._pings.of_agent(item.payload) if from_agent else self._pings.of_provider(item.payload)
                target.control(Opcode.PING, payload)
            case Opcode.PONG:
                answer = self._pings.answer_of_agent if from_agent else self._pings.answer_of_provider
                target.control(Opcode.PONG, answer(item.payload))
            case _:
                self._close(source, target, item.payload)

    # -- the end -------------------------------------------------------------------------------------------------

    def _close(self, source: Side, target: Side, payload: bytes) -> None:
        """A close frame is carried to the other side, whose answer is carried back (RFC 6455, section 7.1)."""
        code, reason = int.from_bytes(payload[:2]) if payload else NO_STATUS, payload[2:]
        if not _may_be_sent(code, payload):
            self._refuse(MALFORMED)
            source.closed = True
            return
        source.closed = True
        if self._closing is None and self._code is None:
            self._note(code, by_agent=source is self._agent)
        # What a provider writes into its reason stays outside (P1): one cut short would not be found.
        target.close(code, reason if source is self._agent else b"")

    def _refuse(self, closing: Closing) -> None:
        """Close both sides, and read on only to see their close frames."""
        if self._closing is None:
            self._closing = closing
            exchange = self.flow.metadata.get(EXCHANGE_KEY)
            if isinstance(exchange, Exchange):
                exchange.fault = exchange.fault or closing.fault
            self._note(closing.code, by_agent=False)
            for side in (self._agent, self._provider):
                side.reader.discard()
                side.close(closing.code)

    @property
    def _code(self) -> int | None:
        assert self.flow.websocket is not None
        return self.flow.websocket.close_code

    def _note(self, code: int, *, by_agent: bool) -> None:
        assert self.flow.websocket is not None
        self.flow.websocket.close_code, self.flow.websocket.closed_by_client = code, by_agent

    def _send(self) -> Steps[None]:
        for side in (self._agent, self._provider):
            if side.out:
                data = side.out[0] if len(side.out) == 1 else b"".join(side.out)
                side.out = []
                yield commands.SendData(side.connection, data)
        if self._agent.closed and self._provider.closed:
            yield from self._end()
        elif self._deadline is None and (self._agent.told or self._provider.told):
            self._deadline = commands.RequestWakeup(LINGER_S)
            yield self._deadline

    def _lost(self, side: Side) -> Steps[None]:
        """A connection that ends without a close frame ends the other one in the same way."""
        if self._code is None:
            self._note(ABNORMAL, by_agent=side is self._agent)
        yield from self._end()

    def _woken(self, event: events.Wakeup) -> Steps[None]:
        if event.command is self._deadline:
            for side in (self._agent, self._provider):
                side.close(GOING_AWAY if self._code is None else self._code)
                side.closed = True
        elif self._deadline is None:
            left = self._idle_s - (time.monotonic() - self._heard_s)
            if left <= 0:
                self._refuse(IDLE)
            else:
                yield commands.RequestWakeup(min(left, self._idle_s / 2))
        yield from self._send()

    def _end(self) -> Steps[None]:
        self._handle_event = self._ended  # type: ignore[method-assign,assignment]
        for side in (self._provider, self._agent):
            yield commands.CloseConnection(side.connection)
        yield WebsocketEndHook(self.flow)
        self.flow.live = False

    def _ended(self, _event: events.Event) -> Steps[None]:
        yield from ()


def _reader(limit: int, inflater: Inflater | None, *, masked: bool) -> Reader:
    return Reader(masked=masked, inflater=inflater, max_bytes=limit)


def _may_be_sent(code: int, payload: bytes) -> bool:
    """Whether a close frame is well formed. Source: RFC 6455, sections 5.5.1 and 7.4."""
    if not payload:
        return True
    registered = code in range(1000, 1004) or code in range(1007, 1015) or code in range(3000, 5000)
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return False
    return len(payload) != 1 and registered


class UpgradedStream(ChallengeStream):
    """A stream that may become a WebSocket."""

    def flow_done(self) -> Steps[None]:
        """As mitmproxy, but a 101 becomes our layer, and only where the pipeline says how messages pass."""
        if self.flow.websocket is None:
            yield from super().flow_done()
            return
        exchange = self.exchange
        if exchange is None or exchange.messages is None:
            yield AbortClient()
            return
        self.child_layer = SocketLayer(self.context, self.flow, exchange.messages)
        self._handle_event = self.passthrough
        yield from self.child_layer.handle_event(events.Start())
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)
