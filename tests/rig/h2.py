"""An HTTP/2 agent by hand, for what a well-behaved client would never send or show."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events

if TYPE_CHECKING:
    from tests.rig.sidecar import Rig


class H2Agent:
    """`ended` holds the streams that ended or were reset; `over` is set when the connection is."""

    def __init__(self, authority: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.authority, self.reader, self.writer = authority, reader, writer
        config = h2.config.H2Configuration(client_side=True, validate_outbound_headers=False, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.statuses: dict[int, str] = {}
        self.bodies: dict[int, bytes] = {}
        self.trailers: dict[int, dict[str, str]] = {}
        self.ended: set[int] = set()
        self.over: int | None = None

    def head(self, number: int, method: str, path: str, *more: tuple[str, str], end: bool = True) -> None:
        fields = [(":method", method), (":scheme", "https"), (":authority", self.authority), (":path", path), *more]
        self.h2.send_headers(number, fields, end_stream=end)

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    async def listen(self, within_s: float, *numbers: int) -> None:
        """Until all of `numbers` have ended, or the time is over, or the connection is (`over`: its error code)."""
        self.flush()
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(within_s):
                while not numbers or not self.ended.issuperset(numbers):
                    data = await self.reader.read(65_536)
                    if not data:
                        self.over = -1 if self.over is None else self.over
                        break
                    for event in self.h2.receive_data(data):
                        self._on(event)
                    self.flush()

    def _on(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self.statuses[event.stream_id] = dict(event.headers)[":status"]
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self.trailers[event.stream_id] = dict(event.headers)
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            self.ended.add(event.stream_id)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.over = int(event.error_code)


async def h2_agent(rig: Rig) -> H2Agent:
    """Through a tunnel to the rig's provider."""
    return H2Agent(f"api.example.test:{rig.provider.port}", *await rig.tls(alpn="h2"))
