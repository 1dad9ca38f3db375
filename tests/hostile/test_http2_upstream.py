"""An HTTP/2 provider by hand: what leaves towards it, and what one stream may do to the others."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import pytest

from tests.rig import running_rig
from tests.rig.sidecar import EXAMPLE, KEY, OTHER

MB = 1024 * 1024
PROFILE = EXAMPLE.replace(
    "operations:\n", "operations:\n  - {{id: short, methods: [POST], path: /short, action: write, limits: {{max_body_bytes: 10, response_timeout_s: 1}}}}\n"
)  # fmt: skip


@dataclass
class H2Provider:
    """Answers `/now` at once and nothing else; remembers what came."""

    window: int | None = None
    heads: list[dict[bytes, bytes]] = field(default_factory=list)
    trailers: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    resets: int = 0
    connections: int = 0

    async def serve(self, reader, writer) -> None:
        self.connections += 1
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=False))
        if self.window is not None:
            connection.local_settings.initial_window_size = self.window
        connection.initiate_connection()
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            while True:
                writer.write(connection.data_to_send())
                data = await reader.read(65_536)
                if not data:
                    break
                for event in connection.receive_data(data):
                    self.on(event, connection)
        writer.close()

    def on(self, event, connection) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.heads.append(dict(event.headers))
            if dict(event.headers)[b":path"] == b"/trailers":
                connection.send_headers(event.stream_id, [(b":status", b"200"), (b"content-type", b"application/grpc")])
                connection.send_data(event.stream_id, b"\0\0\0\0\x05hello")
                connection.send_headers(event.stream_id, [(b"grpc-message", KEY.encode())], end_stream=True)
            if dict(event.headers)[b":path"] == b"/early":
                connection.send_headers(event.stream_id, [(b":status", b"103"), (b"link", KEY.encode())])
                connection.send_headers(
                    event.stream_id, [(b":status", b"204"), (b"x-a", KEY.encode())], end_stream=True
                )
            if dict(event.headers)[b":path"] == b"/now":
                connection.send_headers(event.stream_id, [(b":status", b"204")], end_stream=True)
        elif isinstance(event, h2.events.TrailersReceived):
            self.trailers.append(list(event.headers))
        elif isinstance(event, h2.events.StreamReset):
            self.resets += 1
        elif isinstance(event, h2.events.DataReceived):
            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)


@contextlib.asynccontextmanager
async def h2_rig(folder, provider: H2Provider):
    async with running_rig(folder) as outer:
        context = outer.provider.contexts["api.example.test"]
        context.set_alpn_protocols(["h2"])
        server = await asyncio.start_server(provider.serve, "127.0.0.1", 0, ssl=context)
        outer.provider.port = server.sockets[0].getsockname()[1]
        (folder / "inner").mkdir()
        profiles = {"example": PROFILE, "other": OTHER}
        async with running_rig(folder / "inner", provider=outer.provider, profiles=profiles) as rig:
            yield rig
        server.close()


class Agent:
    """An HTTP/2 agent by hand."""

    def __init__(self, rig, reader, writer) -> None:
        self.authority = f"api.example.test:{rig.provider.port}"
        self.reader, self.writer = reader, writer
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, validate_outbound_headers=False)
        )
        self.h2.initiate_connection()
        self.statuses: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.fields: list[tuple[bytes, bytes]] = []

    def head(self, number: int, method: str, path: str, *more: tuple[str, str], end: bool = True) -> None:
        fields = [(":method", method), (":scheme", "https"), (":authority", self.authority), (":path", path), *more]
        self.h2.send_headers(number, fields, end_stream=end)
        self.flush()

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    async def listen(self, within_s: float, *numbers: int) -> None:
        """Until all of `numbers` have ended, or the time is over, or the connection is."""
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(within_s):
                while not numbers or not self.ended.issuperset(numbers):
                    data = await self.reader.read(65_536)
                    if not data:
                        break
                    for event in self.h2.receive_data(data):
                        self.fields += getattr(event, "headers", None) or []
                        if isinstance(event, h2.events.ResponseReceived):
                            self.statuses[event.stream_id] = dict(event.headers)[b":status"]
                        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                            self.ended.add(event.stream_id)
                    self.flush()


async def agent(rig) -> Agent:
    return Agent(rig, *await rig.tls(alpn="h2"))


async def test_p8_trailers_of_a_request_do_not_leave_undecided(tmp_path):
    provider = H2Provider()
    async with h2_rig(tmp_path, provider) as rig:
        client = await agent(rig)
        client.head(1, "POST", "/x", end=False)
        client.h2.send_data(1, b"hello")
        client.h2.send_headers(1, [("authorization", "Bearer mine"), ("example-project", "two")], end_stream=True)
        client.flush()
        await client.listen(0.5, 1)
        client.writer.transport.abort()
        assert provider.trailers == []
        await rig.settled(1)


async def test_p7_an_upload_into_a_closed_window_is_bounded(tmp_path):
    provider = H2Provider(window=0)
    async with h2_rig(tmp_path, provider) as rig:
        client = await agent(rig)
        client.head(1, "POST", "/x", end=False)
        await client.listen(0.3)
        taken = 0
        with contextlib.suppress(TimeoutError, OSError):
            while taken < 40 * MB:
                client.h2.send_data(1, b"x" * 16_000)
                client.flush()
                async with asyncio.timeout(0.5):
                    await client.writer.drain()
                taken += 16_000
        client.writer.transport.abort()
        assert taken < 24 * MB
        await rig.settled(1)


async def test_a_clock_that_is_over_does_not_cut_other_streams(tmp_path):
    provider = H2Provider()
    async with h2_rig(tmp_path, provider) as rig:
        client = await agent(rig)
        client.head(1, "POST", "/short", end=False)
        await client.listen(0.2)
        client.h2.send_data(1, b"x" * 20)
        client.flush()
        await client.listen(10, 1)
        assert client.statuses[1] == b"413"
        client.head(3, "GET", "/waits")
        await client.listen(1.2, 3)
        assert client.statuses == {1: b"413"}, "the second stream was cut by the first one's clock"
        client.writer.transport.abort()
        await rig.settled(2)


async def test_one_slow_operation_does_not_cut_the_others(tmp_path):
    provider = H2Provider()
    async with h2_rig(tmp_path, provider) as rig:
        client = await agent(rig)
        client.head(1, "GET", "/now")
        await client.listen(10, 1)
        client.head(3, "GET", "/waits")
        client.head(5, "GET", "/slow")
        await client.listen(10, 5)
        assert client.statuses == {1: b"204", 5: b"504"}
        client.writer.transport.abort()
        await rig.settled(3)


@pytest.mark.parametrize("end", [True, False])
async def test_p8_a_length_that_the_body_does_not_have_is_refused(tmp_path, end):
    provider = H2Provider()
    async with h2_rig(tmp_path, provider) as rig:
        client = await agent(rig)
        client.head(1, "POST", "/x", ("content-length", "10"), end=end)
        if not end:
            client.h2.send_data(1, b"hello", end_stream=True)
            client.flush()
        await client.listen(0.5, 1)
        client.writer.transport.abort()
        async with asyncio.timeout(5):
            while rig.sidecar.gauges()["connections"]:
                await asyncio.sleep(0.02)
        assert client.statuses.get(1, b"400") >= b"400"
        assert all(c.outcome for c in await rig.receipts() if c.decision["decision"] == "allow")


@pytest.mark.parametrize("path", ["/trailers", "/early"])
async def test_p1_trailers_and_informational_heads_are_scrubbed(tmp_path, path):
    async with h2_rig(tmp_path, H2Provider()) as rig:
        client = await agent(rig)
        client.head(1, "GET", path)
        await client.listen(10, 1)
        client.writer.transport.abort()
        assert 1 in client.ended
        assert client.fields
        assert not [pair for pair in client.fields if KEY.encode() in pair[1]]
        (call,) = await rig.settled(1)
        assert call.outcome["redactions"] >= 1


async def test_p8_trailers_towards_an_http1_provider_leave_other_streams_alone(rig):
    client = await agent(rig)
    client.head(1, "POST", "/x", end=False)
    client.h2.send_headers(1, [("x-trailer", "a")], end_stream=True)
    client.flush()
    client.head(3, "GET", "/y")
    await client.listen(10, 3)
    client.writer.transport.abort()
    assert client.statuses.get(3) == b"200"
    await rig.settled(2)
