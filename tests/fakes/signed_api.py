"""Providers that verify signed requests with code of their own: Kraken's two stages, Slack's and Twilio's single one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    import asyncio

    from tests.rig.provider import Seen


def reply(writer: asyncio.StreamWriter, status: str, body: str, headers: str = "") -> None:
    writer.write(
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )


@dataclass
class KrakenLike:
    """Refuses a nonce that is not larger than the last, and tells in a rude way what it got."""

    key: str
    secret: str
    last_nonce: int = 0
    nonces: list[int] = field(default_factory=list)

    async def __call__(self, seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonce = dict(parse_qsl(seen.body.decode())).get("nonce", "0")
        inner = hashlib.new("sha256")
        inner.update(nonce.encode())
        inner.update(seen.body)
        outer = hmac.new(base64.standard_b64decode(self.secret), seen.path.encode(), "sha512")
        outer.update(inner.digest())
        if (
            seen.one("api-key") != self.key
            or seen.one("api-sign") != base64.standard_b64encode(outer.digest()).decode()
        ):
            reply(writer, "403 Forbidden", f"EAPI:Invalid signature {self.key}")
        elif int(nonce) <= self.last_nonce:
            reply(writer, "403 Forbidden", "EAPI:Invalid nonce")
        else:
            self.last_nonce = int(nonce)
            self.nonces.append(self.last_nonce)
            reply(writer, "200 OK", f"placed for {self.key} with {self.secret}")


@dataclass
class SlackLike:
    """`v0:timestamp:body`; a timestamp older than five minutes is refused."""

    secret: str
    skew_s: float = 0

    async def __call__(self, seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at = seen.one("x-slack-request-timestamp") or "0"
        base = b":".join([b"v0", at.encode(), seen.body])
        wanted = "v0=" + hmac.new(self.secret.encode(), base, hashlib.sha256).hexdigest()
        fresh = abs(time.time() + self.skew_s - int(at)) < 300
        good = fresh and hmac.compare_digest(wanted, seen.one("x-slack-signature") or "")
        reply(writer, "200 OK" if good else "401 Unauthorized", "ok" if good else f"no: {self.secret}")
