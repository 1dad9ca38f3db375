"""The clients of the soak: six kinds, each with real libraries, each verifying every answer.

A kind is opened (its connection), called many times, closed, and opened again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import ssl
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc
import httpx
from client import BrokenError
from soak_provider import EVENTS, PIECE_BYTES
from upstream import HOST
from websockets.asyncio.client import connect

from tests.fakes.grpc_server import SERVICE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    type Call = Callable[[], Awaitable[None]]

LIMIT_S: Final = 60.0
STREAMS: Final = 8
MESSAGES: Final = 10
UPLOAD_BYTES: Final = 10 * 1024 * 1024
BULK: Final = os.urandom(UPLOAD_BYTES)
RIGHT: Final = "right"


@dataclass(frozen=True, slots=True)
class Agent:
    """What an agent has: a way to the proxy, and a stand-in instead of the key."""

    proxy: str
    stand_in: str

    @property
    def headers(self) -> dict[str, str]:
        """What its program sends, believing that the stand-in is the key."""
        return {"Authorization": f"Bearer {self.stand_in}"}


@dataclass(frozen=True, slots=True)
class Site:
    """Where everything is. `forms` are the spellings in which the key must not be seen; `bundle` is trusted."""

    ports: dict[str, int]
    bundle: Path
    forms: tuple[bytes, ...]
    _contexts: dict[str, ssl.SSLContext] = field(default_factory=dict)

    def url(self, server: str, scheme: str = "https") -> str:
        """The base URL of one of the provider's servers."""
        return f"{scheme}://{HOST}:{self.ports[server]}"

    def trust(self, server: str) -> ssl.SSLContext:
        """One context for each server, because libraries set their protocols in it."""
        if server not in self._contexts:
            self._contexts[server] = ssl.create_default_context(cafile=str(self.bundle))
        return self._contexts[server]

    def clean(self, *texts: str | bytes) -> None:
        """Raises `BrokenError` where the key is in one of `texts`."""
        for text in texts:
            data = text.encode() if isinstance(text, str) else text
            if any(form in data for form in self.forms):
                raise BrokenError("the key came back to the agent")


def expect[T](what: str, got: T, wanted: T) -> None:
    """Raises `BrokenError` where `got` is not `wanted`; says both from a little before where they differ."""
    if got != wanted:
        one, other = str(got), str(wanted)
        same = next((at for at, pair in enumerate(zip(one, other, strict=False)) if len(set(pair)) > 1), 0)
        at = max(0, same - 20)
        raise BrokenError(f"{what}: {one[at : at + 100]!r} instead of {other[at : at + 100]!r}")


def http(site: Site, agent: Agent, server: str) -> httpx.AsyncClient:
    """An httpx client that goes through the sidecar, on one connection: httpx would open more at once for HTTP/2."""
    return httpx.AsyncClient(
        base_url=site.url(server), proxy=agent.proxy, verify=site.trust(server), http2=server == "http2",
        timeout=LIMIT_S, trust_env=False, headers=agent.headers, limits=httpx.Limits(max_connections=1),
    )  # fmt: skip


def told(site: Site, agent: Agent, answer: httpx.Response) -> dict[str, Any]:
    """The JSON of a whole answer in which the provider repeated the key."""
    site.clean(answer.content, *(value for pair in answer.headers.raw for value in pair))
    expect("status", answer.status_code, 200)
    expect("the stand-in in place of the key", agent.stand_in in answer.text, wanted=True)
    return dict(json.loads(answer.content))


async def echoed(site: Site, agent: Agent, client: httpx.AsyncClient) -> None:
    """One call whose answer repeats it."""
    body = secrets.token_hex(300)
    answer = await client.post("/echo", content=body)
    got = told(site, agent, answer)
    expect("body", got["body"], body)
    expect("key at the provider", dict(got["headers"])["x-key"], RIGHT)


@contextlib.asynccontextmanager
async def http1(site: Site, agent: Agent) -> AsyncIterator[Call]:
    """Calls one after the other on a kept connection."""
    async with http(site, agent, "http1") as client:
        yield lambda: echoed(site, agent, client)


@contextlib.asynccontextmanager
async def http2(site: Site, agent: Agent) -> AsyncIterator[Call]:
    """`STREAMS` calls at once on one connection."""
    async with http(site, agent, "http2") as client:

        async def one() -> None:
            await echoed(site, agent, client)

        async def call() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(STREAMS):
                    group.create_task(one())

        yield call


@contextlib.asynccontextmanager
async def events(site: Site, agent: Agent) -> AsyncIterator[Call]:
    """A stream of server-sent events, each of which repeats the key."""
    async with http(site, agent, "http1") as client:

        async def call() -> None:
            async with client.stream("GET", "/events") as answer:
                expect("status", answer.status_code, 200)
                got = [line async for line in answer.aiter_lines() if line]
            site.clean(*got)
            expect("events", got, [f"data: {index} {RIGHT} Bearer {agent.stand_in}" for index in range(EVENTS)])

        yield call


@contextlib.asynccontextmanager
async def upload(site: Site, agent: Agent) -> AsyncIterator[Call]:
    """10 MiB, in turns with Content-Length and chunked."""
    async with http(site, agent, "http1") as client:
        chunked = False

        async def call() -> None:
            nonlocal chunked
            first = secrets.token_bytes(PIECE_BYTES)
            parts = (first, memoryview(BULK)[len(first) :])
            digest = await asyncio.to_thread(lambda: hashlib.sha256(b"".join(parts)).hexdigest())
            length = {} if chunked else {"Content-Length": str(UPLOAD_BYTES)}
            chunked = not chunked
            answer = await client.post("/upload", content=streamed(first), headers=length)
            got = told(site, agent, answer)
            expect("upload", (got["key"], got["bytes"], got["sha256"]), (RIGHT, UPLOAD_BYTES, digest))

        yield call


async def streamed(first: bytes) -> AsyncIterator[bytes]:
    """`first`, and of `BULK` what follows it."""
    yield first
    for at in range(len(first), UPLOAD_BYTES, PIECE_BYTES):
        yield BULK[at : at + PIECE_BYTES]


@contextlib.asynccontextmanager
async def websocket(site: Site, agent: Agent) -> AsyncIterator[Call]:
    """Messages and their answers on one socket with permessage-deflate; text and binary in turns."""
    async with connect(
        site.url("websocket", "wss") + "/socket", proxy=agent.proxy, ssl=site.trust("websocket"),
        additional_headers=agent.headers, open_timeout=LIMIT_S, close_timeout=LIMIT_S,
    ) as socket:  # fmt: skip
        expect("extensions", [e.name for e in socket.protocol.extensions], ["permessage-deflate"])

        async def call() -> None:
            for number in range(MESSAGES):
                message = f"{number} {secrets.token_hex(200)}"
                await socket.send(message if number % 2 else message.encode())
                answer = await socket.recv(decode=False)
                site.clean(answer)
                expect("message", answer.decode(), f"{RIGHT} Bearer {agent.stand_in} {message}")

        yield call


@contextlib.asynccontextmanager
async def rpc(site: Site, agent: Agent) -> AsyncIterator[Call]:
    """A unary call, then a conversation."""
    options = [("grpc.http_proxy", agent.proxy), ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    trust = grpc.ssl_channel_credentials(site.bundle.read_bytes())
    metadata = tuple((name.lower(), value) for name, value in agent.headers.items())
    said = f"{RIGHT} Bearer {agent.stand_in}"
    async with grpc.aio.secure_channel(f"{HOST}:{site.ports['grpc']}", trust, options=options) as channel:

        async def unary() -> None:
            message = secrets.token_hex(200).encode()
            call = channel.unary_unary(f"/{SERVICE}/Unary")(message, metadata=metadata, timeout=LIMIT_S)
            answer = await call
            fields = [*(await call.initial_metadata()), *(await call.trailing_metadata())]
            site.clean(answer, *(value for _, value in fields))
            expect("unary answer", answer, b"%s|%s|end" % (message, said.encode()))

        async def conversation() -> None:
            call = channel.stream_stream(f"/{SERVICE}/Both")(metadata=metadata, timeout=LIMIT_S)
            for number in range(MESSAGES):
                await call.write(b"word %d" % number)
                answer = await call.read()
                site.clean(answer)
                expect("answer in a conversation", answer, b"WORD %d %s" % (number, said.encode()))
            await call.done_writing()
            expect("end of a conversation", await call.read(), grpc.aio.EOF)
            expect("code", await call.code(), grpc.StatusCode.OK)

        async def call() -> None:
            await unary()
            await conversation()

        yield call


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of client.

    Attributes:
        weight: its part of all clients, of 20.
        think_s: mean pause between two calls.
        calls: on one connection, before it is closed and opened again.
        requests: receipts that one call leaves; `session_requests` those of one connection.
    """

    name: str
    opened: Callable[[Site, Agent], AbstractAsyncContextManager[Call]]
    weight: int
    think_s: float
    calls: int
    requests: int = 1
    session_requests: int = 0


KINDS: Final = (
    Kind(name="HTTP/1.1 keep-alive", opened=http1, weight=9, think_s=5, calls=20),
    Kind(name=f"HTTP/2, {STREAMS} streams", opened=http2, weight=3, think_s=16, calls=8, requests=STREAMS),
    Kind(name="SSE, 4 s", opened=events, weight=3, think_s=4, calls=8),
    Kind(name=f"WebSocket, {MESSAGES} messages", opened=websocket, weight=2, think_s=6, calls=15,
         requests=0, session_requests=1),
    Kind(name="gRPC, unary and stream", opened=rpc, weight=2, think_s=8, calls=10, requests=2),
    Kind(name="upload of 10 MiB", opened=upload, weight=1, think_s=40, calls=3),
)  # fmt: skip


def shared_out(count: int) -> list[Kind]:
    """`count` kinds by weight, at least one of each where there are that many."""
    wheel = [kind for turn in range(max(k.weight for k in KINDS)) for kind in KINDS if kind.weight > turn]
    return [wheel[index % len(wheel)] for index in range(count)]
