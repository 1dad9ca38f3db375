"""A server that issues tokens, knows which are good, guards a resource with them, and can be rude."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.rig.provider import echo

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from tests.rig.provider import Handler, Seen

CANARY = "UPSTREAM-CANARY-0123456789"
"""Stands in everything rude that is said: it must never be repeated."""
HUGE = 2 * 1024 * 1024


class RefusedError(Exception):
    """What this server does not accept: a status, and the body of the answer."""

    def __init__(self, status: int, document: object, **headers: str) -> None:
        super().__init__(status)
        self.status, self.document, self.headers = status, document, headers


def answer(writer: asyncio.StreamWriter, status: int, document: object, **headers: str) -> None:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    lines = {"Content-Type": "application/json", **{n.replace("_", "-"): v for n, v in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"HTTP/1.1 {status} Said\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


def rude(mood: str, writer: asyncio.StreamWriter) -> None:
    match mood:
        case "garbage":
            answer(writer, 200, f"<html>{CANARY}</html>".encode(), Content_Type="text/html")
        case "list":
            answer(writer, 200, [CANARY])
        case "empty":
            answer(writer, 200, {"note": CANARY})
        case "types":
            answer(writer, 200, {"access_token": 12345678901, "token": [CANARY], "id_token": {}, "expires_in": CANARY})
        case "unsendable":
            value = f"{CANARY}\r\nX-Injected: yes"
            answer(writer, 200, {"access_token": value, "token": value, "id_token": value, "token_type": "Bearer"})
        case "huge":
            answer(writer, 200, b'{"access_token": "' + b"a" * HUGE + b'"}')
        case "busy":
            answer(writer, 429, {"error": CANARY}, Retry_After="7")
        case "fault":
            answer(writer, 500, {"error": CANARY, "error_description": CANARY})
        case "down":
            writer.transport.abort()
        case _:
            raise AssertionError(mood)


MOODS = ("garbage", "list", "empty", "types", "unsendable", "huge", "busy", "fault", "down")


@dataclass
class TokenServer:
    """`live` are the tokens that the resource accepts; `mood` is how the token endpoints answer; `asked` counts."""

    prefix: str = "tok_"
    live: set[str] = field(default_factory=set)
    mood: str = ""
    asked: list[Seen] = field(default_factory=list)

    def issue(self) -> str:
        token = self.prefix + secrets.token_urlsafe(24)
        self.live.add(token)
        return token

    def endpoint(self, decide: Callable[[Seen], tuple[int, Any]]) -> Handler:
        async def handler(seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.asked.append(seen)
            if self.mood:
                rude(self.mood, writer)
                return
            try:
                answer(writer, *decide(seen))
            except RefusedError as refused:
                answer(writer, refused.status, refused.document, **refused.headers)

        return handler

    async def resource(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Echoes everything, also the token, to whoever has a live one."""
        if (seen.one("authorization") or "").removeprefix("Bearer ") in self.live:
            await echo(seen, reader, writer)
        else:
            answer(writer, 401, {"error": "invalid_token"})
