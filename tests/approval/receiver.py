"""A server that channels talk to: it verifies what it gets, and is as slow, rude or absent as a test wants."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from proxy.clock import SystemClock
from proxy.egress.dial import Dialler
from proxy.egress.http import HttpClient
from proxy.egress.resolver import Resolver
from proxy.secret import Secret
from tests.rig.provider import Provider

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.rig.provider import Seen

HOST = "hooks.example.test"
SECRETS = {
    "env:HOOK": b"whsec_" + base64.b64encode(b"k" * 24),
    "env:NTFY": b"Bearer tk_canary",
    "env:BOT": b"xoxb-canary-token",
    "env:SIGNING": b"8f742231b10e8888abcd99yyyzzz85a5",
}


async def read_secret(ref: str) -> Secret:
    return Secret(ref, SECRETS[ref])


@dataclass
class Receiver:
    """Answers with `status`, after it has looked at the signature; `told` are the bodies of those that were right."""

    provider: Provider
    status: int = 200
    headers: str = ""
    told: list[tuple[str, Any]] = field(default_factory=list)
    attempts: list[Seen] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.provider.port}/hook"

    def settings(self, **more: object) -> dict[str, Any]:
        allowed = {"allow_private": ["127.0.0.0/8"], "ca_file": str(self.provider.root)}
        return {"url": self.url, "secret": "env:HOOK", **allowed, **more}

    async def hook(self, seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.attempts.append(seen)
        if self.status == 200 and verified(seen):
            self.told.append((str(seen.one("webhook-id")), seen.body))
        reason = f"HTTP/1.1 {self.status} X\r\n{self.headers}Content-Length: 0\r\n\r\n"
        writer.write(reason.encode())


def verified(seen: Seen) -> bool:
    """Standard Webhooks, from its text; not our code."""
    signed = f"{seen.one('webhook-id')}.{seen.one('webhook-timestamp')}.".encode() + seen.body
    wanted = base64.b64encode(hmac.new(b"k" * 24, signed, hashlib.sha256).digest()).decode()
    return seen.one("webhook-signature") == f"v1,{wanted}"


@dataclass
class SlackServer:
    """`chat.postMessage` and `chat.update`: keeps what its messages say now, by their `ts`."""

    provider: Provider
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    fails: int = 0

    def settings(self, **more: object) -> dict[str, Any]:
        return {
            "channel": "C0123456789",
            "token": "env:BOT",
            "signing_secret": "env:SIGNING",
            "approvers": {"U1ANN": "ann", "U2COD": "coder"},
            "address": f"https://{HOST}:{self.provider.port}/api",
            "allow_private": ["127.0.0.0/8"],
            "ca_file": str(self.provider.root),
            **more,
        }

    async def post(self, seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(seen.body)
        self.calls.append(seen.path)
        if seen.one("authorization") != "Bearer xoxb-canary-token":
            return self._say(writer, {"ok": False, "error": "invalid_auth"})
        if self.fails:
            self.fails -= 1
            return self._say(writer, {"ok": False, "error": "fatal_error"})
        ts = f"1764115200.{len(self.messages):06}" if seen.path.endswith("postMessage") else asked["ts"]
        if seen.path.endswith("update") and (ts not in self.messages or asked["channel"] != "C0123456789"):
            return self._say(writer, {"ok": False, "error": "message_not_found"})
        self.messages[ts] = asked
        return self._say(writer, {"ok": True, "channel": "C0123456789", "ts": ts})

    @staticmethod
    def _say(writer: asyncio.StreamWriter, value: object) -> None:
        body = json.dumps(value).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )


@contextlib.asynccontextmanager
async def receiving(folder: Path) -> AsyncIterator[tuple[Receiver, SlackServer, HttpClient]]:
    """Both servers on one port, and a client that reaches them."""
    provider = Provider(folder, (HOST,))
    await provider.start()
    receiver, slack = Receiver(provider), SlackServer(provider)
    provider.on("/hook", receiver.hook)
    provider.on("/api/chat.postMessage", slack.post)
    provider.on("/api/chat.update", slack.post)
    hosts = {HOST: ("127.0.0.1",), "meta.example.test": ("169.254.169.254",), "inside.example.test": ("10.0.0.1",)}
    dialler = Dialler(
        resolver=Resolver(clock=SystemClock(), timeout_s=5, hosts=hosts),
        connect_timeout_s=5,
        own_listeners=frozenset,
        read_secret=read_secret,
    )
    try:
        yield receiver, slack, HttpClient(dialler=dialler, timeout_s=5)
    finally:
        await provider.stop()
