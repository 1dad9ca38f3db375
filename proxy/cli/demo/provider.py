"""A sample provider: HTTPS on loopback, demands its key, echoes what it was sent, streams events."""

from __future__ import annotations

import asyncio
import hmac
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiohttp import web

from certs.authority import CertificateAuthority
from proxy.cli.sample_tls import HttpsServer, server_context
from proxy.clock import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

HOST: Final = "api.sample.test"
EVENTS: Final = 5
EVENT_EVERY_S: Final = 0.2
PROFILE: Final = """\
schema: 1
name: sample
title: Sample provider
docs: https://api.sample.test/
checked: "2026-11-24"
hosts:
  - {{host: api.sample.test, port: {port}}}
secrets:
  api_key:
    env: [SAMPLE_API_KEY]
    stand_in: {{template: "sk-sample-{{base62:32}}"}}
credentials:
  bearer: {{kind: header, header: Authorization, prefix: "Bearer ", secret: api_key}}
operations:
  - {{id: echo, methods: [POST], path: /v1/echo, action: write}}
  - {{id: stream, methods: [GET], path: /v1/stream, action: read}}
  - {{id: keys.delete, methods: [DELETE], path: "/v1/keys/{{key}}", action: admin}}
"""


@dataclass(slots=True)
class Seen:
    """One request as the provider saw it; the credential only by its name, its length and whether it is right."""

    line: str
    credential: str
    body: str


@dataclass(slots=True)
class SampleProvider:
    """`requests` and `event_times` (seconds since the epoch) are what it has seen and done."""

    key: str
    requests: list[Seen] = field(default_factory=list)
    event_times: list[float] = field(default_factory=list)
    port: int = 0
    _server: HttpsServer | None = None

    async def start(self, folder: Path) -> Path:
        """Listen on a free port of loopback; returns the PEM file of the provider's own root."""
        authority = CertificateAuthority.ephemeral(patterns=[HOST], clock=SystemClock())
        app = web.Application()
        app.router.add_post("/v1/echo", self._echo)
        app.router.add_get("/v1/stream", self._stream)
        self._server = HttpsServer(app)
        root = await self._server.start(authority, server_context(authority, HOST, folder), folder)
        self.port = self._server.port
        return root

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            await self._server.stop()

    def _judge(self, request: web.Request, body: str) -> bool:
        given = request.headers.get("Authorization", "")
        right = hmac.compare_digest(given.encode(), f"Bearer {self.key}".encode())
        shown = f"Authorization: {len(given)} characters, {'the real key' if right else 'not the key'}"
        self.requests.append(Seen(f"{request.method} {request.path}", shown, body))
        return right

    async def _echo(self, request: web.Request) -> web.Response:
        body = await request.text()
        if not self._judge(request, body):
            return web.json_response({"error": "invalid api key"}, status=401)
        # A careless debug endpoint: it sends back the very headers that it was sent.
        return web.json_response({"you_sent": body, "headers": dict(request.headers)})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        if not self._judge(request, ""):
            return web.json_response({"error": "invalid api key"}, status=401)
        await response.prepare(request)
        for number in range(EVENTS):
            self.event_times.append(time.time())
            await response.write(f"data: event {number + 1}\n\n".encode())
            await asyncio.sleep(EVENT_EVERY_S)
        return response
