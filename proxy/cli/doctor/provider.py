"""The provider of the doctor: any path of any name below `sample.test`; remembers who came with the real key."""

from __future__ import annotations

import asyncio
import hmac
import ssl
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiohttp import WSMsgType, web

from certs.authority import CertificateAuthority
from proxy.cli.sample_tls import HttpsServer, server_context
from proxy.clock import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

DOMAIN: Final = "sample.test"
PROFILE: Final = """\
schema: 1
name: sample
title: Sample provider
docs: https://sample.test/
checked: "2026-11-25"
hosts:
  - {{host: "*.sample.test", port: {port}}}
secrets:
  api_key:
    env: [SAMPLE_API_KEY]
    stand_in: {{template: "sk-sample-{{base62:32}}"}}
credentials:
  bearer: {{kind: header, header: Authorization, prefix: "Bearer ", secret: api_key}}
operations:
  - {{id: socket, methods: [GET], path: /socket, action: read, websocket: true}}
  - {{id: any, methods: [GET, HEAD, POST, PUT, PATCH, DELETE], path: "/**", action: write}}
"""


@dataclass(slots=True)
class Provider:
    """`with_key` and `without_key` count requests by host; `reached` is set at the first one with the key."""

    key: str
    with_key: Counter[str] = field(default_factory=Counter)
    without_key: Counter[str] = field(default_factory=Counter)
    reached: defaultdict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    port: int = 0
    _server: HttpsServer | None = None

    async def start(self, folder: Path) -> Path:
        """Listen on a free port of loopback; returns the PEM file of the provider's own root."""
        authority = CertificateAuthority.ephemeral(patterns=[f"*.{DOMAIN}"], clock=SystemClock())
        context = server_context(authority, f"provider.{DOMAIN}", folder)

        def choose(connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            connection.context = server_context(authority, name or "", folder)

        context.sni_callback = choose
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._any)
        self._server = HttpsServer(app)
        root = await self._server.start(authority, context, folder)
        self.port = self._server.port
        return root

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            await self._server.stop()

    async def _any(self, request: web.Request) -> web.StreamResponse:
        host = request.host.partition(":")[0]
        given = request.headers.get("Authorization", "")
        right = hmac.compare_digest(given.encode(), f"Bearer {self.key}".encode())
        (self.with_key if right else self.without_key)[host] += 1
        if right:
            self.reached[host].set()
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await _talked(request)
        return web.json_response({"sample": "answer"})


async def _talked(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str("answer")
    return socket
