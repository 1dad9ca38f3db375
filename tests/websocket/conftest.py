"""The sidecar before a real WebSocket server: the `websockets` library, with TLS, on a port of its own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from tests.rig import running_rig
from tests.rig.provider import Provider
from tests.rig.sidecar import OTHER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection
    from websockets.asyncio.server import ServerConnection

    from tests.rig import Rig

SOCKETS = """\
schema: 1
name: example
title: Example
docs: https://example.test/
checked: "2026-11-25"
hosts: [{{host: api.example.test, port: {port}}}]
secrets:
  api_key: {{env: [EXAMPLE_API_KEY], stand_in: {{template: "sk-example-{{base62:24}}"}}}}
credentials:
  bearer: {{kind: header, header: Authorization, prefix: "Bearer ", secret: api_key}}
  in_frames:
    kind: frames
    secret: api_key
    rules:
      - {{pointer: /d/token, when: {{/op: 2}}}}
      - {{pointer: /d/token, when: {{/op: 6}}}}
operations:
  - {{id: socket, methods: [GET], path: /socket, action: write, websocket: true, credentials: [bearer]}}
  - {{id: gateway, methods: [GET], path: /gateway, action: write, websocket: true, credentials: [in_frames]}}
"""

type Talk = Callable[[ServerConnection], Awaitable[None]]


@pytest.fixture
def sockets(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Rig]]:
    """`async with sockets(talk, serving={...}, **of_the_rig) as rig`: every path of the server is `talk`."""

    @contextlib.asynccontextmanager
    async def opened(
        talk: Talk, *, host: str = "api.example.test", serving: dict[str, Any] | None = None, **options: Any
    ) -> AsyncIterator[Rig]:
        hosts = options.pop("hosts", (host, "other.example.test"))
        provider = Provider(tmp_path, hosts)
        await provider.start()
        try:
            async with serve(talk, "127.0.0.1", 0, ssl=provider.contexts[host], **(serving or {})) as server:
                await provider.stop()
                provider.port = server.sockets[0].getsockname()[1]
                given = {"profiles": {"example": SOCKETS, "other": OTHER}, **options}
                async with running_rig(tmp_path, provider=provider, hosts=hosts, **given) as rig:
                    yield rig
        finally:
            await provider.stop()

    return opened


def joined(rig: Rig, path: str = "/socket", **options: Any) -> connect:
    """The `websockets` client through the proxy; without limits of its own unless said."""
    address = rig.base.replace("https://", "wss://")
    agent = options.pop("agent", "tester")
    return connect(
        f"{address}{path}", proxy=rig.url(agent), ssl=rig.trust(), **{"max_size": None, "open_timeout": 20, **options}
    )


async def closing_code(socket: ClientConnection) -> int | None:
    """The code with which the other side closed; None where no close frame came."""
    await socket.wait_closed()
    received = socket.protocol.close_rcvd
    return None if received is None else int(received.code)
