"""A server with Digest (RFC 7616) that checks by itself: every nonce's counts once and in order, auth-int, -sess, stale."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.request import parse_http_list, parse_keqv_list

from tests.fakes.signed_api import reply

if TYPE_CHECKING:
    import asyncio

    from tests.rig.provider import Seen


@dataclass
class DigestServer:
    """`counts` are those that were accepted, by nonce."""

    user: str
    password: str
    realm: str = "api"
    algorithm: str = "SHA-256"
    qop: str = "auth"
    extra: str = ""
    challenge: str | None = None
    nextnonce: bool = False
    tell: bool = False
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))
    counts: dict[str, list[int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    async def __call__(self, seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        problem = self.problem(seen)
        if problem is None:
            info = ""
            if self.nextnonce:
                self.nonce = secrets.token_hex(8)
                info = f'Authentication-Info: nextnonce="{self.nonce}"\r\n'
            reply(writer, "200 OK", f"in: {f'{self.password} {seen.one("authorization")}' if self.tell else ''}", info)
            return
        self.problems.append(problem)
        stale = ", stale=true" if problem == "stale" else ""
        offered = self.challenge or (
            f'Digest realm="{self.realm}", nonce="{self.nonce}", opaque="o\\"p", algorithm={self.algorithm}'
            f"{f', qop="{self.qop}"' if self.qop else ''}{stale}{self.extra}"
        )
        reply(writer, "401 Unauthorized", problem, f'WWW-Authenticate: Basic realm="old", {offered}\r\n')

    def hash(self, text: str, body: bytes = b"") -> str:
        name = self.algorithm.removesuffix("-sess").replace("SHA-512-256", "sha512_256").replace("-", "").lower()
        return hashlib.new(name, text.encode() + body).hexdigest()

    def problem(self, seen: Seen) -> str | None:
        scheme, _, rest = (seen.one("authorization") or "").partition(" ")
        if scheme != "Digest":
            return "nothing"
        got = parse_keqv_list(parse_http_list(rest))
        if got["nonce"] != self.nonce:
            return "stale"
        named = self.user if got.get("userhash") != "true" else self.hash(f"{self.user}:{self.realm}")
        if (
            got["username"] != named
            or got["uri"] != seen.target
            or got["opaque"] != 'o"p'
            or got["realm"] != self.realm
        ):
            return "fields"
        a1 = self.hash(f"{self.user}:{self.realm}:{self.password}")
        if self.algorithm.endswith("-sess"):
            a1 = self.hash(f"{a1}:{got['nonce']}:{got['cnonce']}")
        if got.get("qop") == "auth-int":
            a2 = self.hash(f"{seen.method}:{got['uri']}:{self.hash('', seen.body)}")
        else:
            a2 = self.hash(f"{seen.method}:{got['uri']}")
        middle = f"{got['nc']}:{got['cnonce']}:{got['qop']}:" if self.qop else ""
        if got["response"] != self.hash(f"{a1}:{got['nonce']}:{middle}{a2}"):
            return "response"
        if self.qop:
            if got["qop"] not in self.qop.split(","):
                return "qop"
            counts = self.counts.setdefault(got["nonce"], [])
            if int(got["nc"], 16) in counts or len(got["nc"]) != 8:
                return "replay"
            counts.append(int(got["nc"], 16))
        return None
