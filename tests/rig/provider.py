"""A provider with TLS on loopback, raw enough to be rude: a handler writes bytes, not responses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization

from certs.authority import CertificateAuthority
from proxy.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    type Handler = Callable[["Seen", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Seen:
    """One request as it arrived: `head` is the raw head."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    head: bytes
    body: bytes = b""
    host: str = ""
    connection: int = 0

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]

    def one(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


async def echo(seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything that came, as JSON: the careless provider."""
    told = {"method": seen.method, "target": seen.target, "headers": seen.headers, "body": seen.body.decode("latin-1")}
    body = json.dumps(told).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + (b"" if seen.method == "HEAD" else body))


class Contexts(dict[str, ssl.SSLContext]):
    """By host; one is made when it is first asked for, as most tests use one host of many."""

    def __init__(self, make: Callable[[str], ssl.SSLContext]) -> None:
        self._make = make

    def __missing__(self, host: str) -> ssl.SSLContext:
        self[host] = context = self._make(host)
        return context


@dataclass
class Provider:
    """`requests` are those that arrived; `connections` counts TLS connections; `on` sets a handler for a path."""

    folder: Path
    hosts: tuple[str, ...]
    requests: list[Seen] = field(default_factory=list)
    connections: int = 0
    attempts: int = 0
    handlers: dict[str, Handler] = field(default_factory=dict)
    read_body: bool = True
    port: int = 0
    root: Path = Path()
    _server: asyncio.Server | None = None
    contexts: dict[str, ssl.SSLContext] = field(default_factory=dict)  # `Contexts` from the start on
    first: ssl.SSLContext | None = None

    async def start(self) -> None:
        authority = CertificateAuthority.ephemeral(patterns=self.hosts, clock=SystemClock())
        self.root = self.folder / "provider-root.pem"
        self.root.write_bytes(authority.bundle_pem())
        self.contexts = Contexts(lambda host: server_context(authority, host, self.folder))
        # A context of its own: the one that `sni_callback` starts from must not be one that it chooses.
        first = self.first = server_context(authority, self.hosts[0], self.folder)

        def choose(connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
            if name is None:  # an address has no server name
                return None
            if name in self.hosts or name in self.contexts:
                connection.context = self.contexts[name]
                return None
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

        first.sni_callback = choose
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=first, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self._server.close_clients()

    def on(self, path: str, handler: Handler) -> None:
        self.handlers[path] = handler

    def answers(self, path: str, raw: bytes) -> None:
        """Answer `path` with exactly these bytes."""

        async def handler(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(raw)

        self.handlers[path] = handler

    @property
    def last(self) -> Seen:
        return self.requests[-1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        host = ""
        try:
            while True:
                seen = await read_head(reader)
                seen.connection, seen.host = number, seen.one("host") or host
                self.requests.append(seen)
                if self.read_body:
                    seen.body = await read_body(seen, reader, writer)
                await self.handlers.get(seen.path, echo)(seen, reader, writer)
                await writer.drain()
                if seen.one("connection") == "close":
                    break
        except (asyncio.IncompleteReadError, OSError, ssl.SSLError):
            pass
        finally:
            with contextlib.suppress(OSError, ssl.SSLError):
                writer.close()


async def read_head(reader: asyncio.StreamReader) -> Seen:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Seen(method, target, headers, head)


async def read_body(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    if seen.one("expect") == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if (length := seen.one("content-length")) is not None:
        return await reader.readexactly(int(length))
    if seen.one("transfer-encoding") is None:
        return b""
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while (await reader.readuntil(b"\r\n")) != b"\r\n":
        pass
    return body


def server_context(authority: CertificateAuthority, host: str, folder: Path) -> ssl.SSLContext:
    leaf = authority.leaf(host)
    pem = serialization.Encoding.PEM
    key = leaf.key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / f"{host}.pem"
    path.write_bytes(key + b"".join(cert.public_bytes(pem) for cert in (leaf.cert, *leaf.chain)))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    context.set_alpn_protocols(["http/1.1"])
    return context
