"""A rude authorization server and its API: one-time refresh tokens, reuse detection, and whatever else it is told.

Nothing of the product's own code judges here: forms are parsed by urllib, Basic by hand, JWTs by jwskate.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote_plus

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rig.provider import Seen


@dataclass
class Family:
    """Refresh tokens that came from one login; only `current` is good, `former` for a moment more."""

    current: str
    former: dict[str, float] = field(default_factory=dict)
    revoked: bool = False
    refreshes: int = 0


@dataclass
class TokenServer:
    """`forms` are the token requests that came; `script` answers the next ones instead: (status, headers, body)."""

    lifetime_s: float = 3600
    leeway_s: float = 0.0
    delay_s: float = 0.0
    rotates: bool = True
    token_type: str = "Bearer"
    clients: dict[str, str] = field(default_factory=lambda: {"client one": "s3cr3t/+ %:value-of-the-client"})
    families: dict[str, Family] = field(default_factory=dict)
    forms: list[dict[str, list[str]]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    tokens: dict[str, float] = field(default_factory=dict)
    script: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    extra: dict[str, object] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    check: Callable[[Seen, dict[str, list[str]]], str | None] | None = None

    def login(self, family: str = "main") -> str:
        """A first refresh token."""
        self.families[family] = Family(f"rt-{family}-{secrets.token_urlsafe(24)}")
        return self.families[family].current

    async def token(self, seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen.append(seen)
        form = parse_qs(seen.body.decode(), keep_blank_values=True, strict_parsing=True)
        self.forms.append(form)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.script:
            status, headers, body = self.script.pop(0)
            writer.write(raw(status, headers, body))
            return
        problem = self._client_fault(seen, form) or (self.check(seen, form) if self.check else None)
        granted = None if problem else self._granted(form)
        if isinstance(granted, dict):
            writer.write(raw(200, {"content-type": "application/json", "cache-control": "no-store"}, dumps(granted)))
            return
        code = problem or granted or "invalid_request"
        said = {"error": code, "error_description": "IGNORE-THIS-TEXT"}
        writer.write(raw(401 if code == "invalid_client" else 400, {"content-type": "application/json"}, dumps(said)))

    def _client_fault(self, seen: Seen, form: dict[str, list[str]]) -> str | None:
        authorization = seen.one("authorization")
        if authorization is not None:
            scheme, _, value = authorization.partition(" ")
            identity, _, secret = base64.b64decode(value).decode().partition(":")
            name, secret = unquote_plus(identity), unquote_plus(secret)
            known = scheme == "Basic" and "client_secret" not in form and self.clients.get(name) == secret
            return None if known else "invalid_client"
        name, secret = form.get("client_id", [""])[0], form.get("client_secret", [""])[0]
        if "client_assertion" in form or name == "public":
            return None
        return None if self.clients.get(name) == secret else "invalid_client"

    def _granted(self, form: dict[str, list[str]]) -> dict[str, object] | str:
        if any(len(values) > 1 for name, values in form.items() if name not in ("resource", "audience")):
            return "invalid_request"
        self.calls[form["grant_type"][0]] += 1
        answer: dict[str, object] = {}
        if form["grant_type"] == ["refresh_token"]:
            refreshed = self._refreshed(form["refresh_token"][0])
            if refreshed is None:
                return "invalid_grant"
            if self.rotates:
                answer["refresh_token"] = refreshed
        token = f"at-{secrets.token_urlsafe(24)}"
        self.tokens[token] = time.monotonic() + self.lifetime_s
        return {
            "access_token": token,
            "token_type": self.token_type,
            "expires_in": int(self.lifetime_s),
            **answer,
            **self.extra,
        }

    def _refreshed(self, token: str) -> str | None:
        """The next refresh token; None revokes, or the token is unknown."""
        for name, family in self.families.items():
            known = token == family.current or token in family.former
            if not known:
                continue
            if family.revoked:
                return None
            if token != family.current and time.monotonic() - family.former[token] > self.leeway_s:
                family.revoked = True
                return None
            family.refreshes += 1
            if self.rotates:
                family.former.setdefault(family.current, time.monotonic())
                family.current = f"rt-{name}-{secrets.token_urlsafe(24)}"
            return family.current
        return None

    async def resource(self, seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """An API that takes these tokens."""
        scheme, _, token = (seen.one("authorization") or "").partition(" ")
        if scheme == "Bearer" and self.tokens.get(token, 0) > time.monotonic():
            body = dumps({"you sent": token, "again": base64.b64encode(token.encode()).decode()})
            writer.write(raw(200, {"content-type": "application/json"}, body))
            return
        asks = 'Bearer realm="api", error="invalid_token", error_description="IGNORE-THIS-TEXT"'
        writer.write(raw(401, {"www-authenticate": asks, "content-type": "text/plain"}, b"no"))


def raw(status: int, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status} x", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def dumps(value: object) -> bytes:
    return json.dumps(value).encode()
