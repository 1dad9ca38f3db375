"""A corporate proxy: HTTP CONNECT (plain or in TLS) or SOCKS 5 on loopback, which resolves names by its own table."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl

USER, PASSWORD = "ada", "s3cret-of-the-proxy"
REPLY = bytes([5, 0, 0, 1, 127, 0, 0, 1, 0, 80])


@dataclass
class UpstreamProxy:
    """`targets` are the authorities that were asked for, `proofs` what came as a login.

    Attributes:
        speaks: `http` or `socks5`.
        names: what it resolves; a name that is not there is answered as unreachable.
        login: whether it wants `USER` and `PASSWORD`.
        answer: bytes that it says in place of its own answer; None for a proper one.
        silent: it accepts and says nothing.
    """

    speaks: str
    names: dict[str, str]
    login: bool = False
    tls: ssl.SSLContext | None = None
    answer: bytes | None = None
    silent: bool = False
    port: int = 0
    targets: list[str] = field(default_factory=list)
    proofs: list[str] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._server.close_clients()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if self.silent:
                await reader.read()
            elif self.speaks == "http":
                await self._http(reader, writer)
            else:
                await self._socks(reader, writer)
        writer.close()

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        lines = head.decode().split("\r\n")
        method, target, _ = lines[0].split(" ")
        assert method == "CONNECT", head
        self.targets.append(target)
        given = [line.partition(": ")[2] for line in lines if line.lower().startswith("proxy-authorization:")]
        self.proofs += given
        if self.answer is not None:
            writer.write(self.answer)
            await writer.drain()
            return
        if self.login and given != ["Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()]:
            writer.write(b'HTTP/1.1 407 Nope\r\nProxy-Authenticate: Basic realm="corp"\r\nContent-Length: 0\r\n\r\n')
            return
        host, _, port = target.rpartition(":")
        upstream = await self._reach(host, int(port))
        if upstream is None:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 corp\r\n\r\n")
        await _join(reader, writer, *upstream)

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        if self.answer is not None:
            writer.write(self.answer)
            await writer.drain()
            await reader.read()
            return
        if self.login:
            if 2 not in methods:
                writer.write(b"\x05\xff")
                return
            writer.write(b"\x05\x02")
            _, length = await reader.readexactly(2)
            user = (await reader.readexactly(length)).decode()
            word = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
            self.proofs.append(f"{user}:{word}")
            good = (user, word) == (USER, PASSWORD)
            writer.write(b"\x01\x00" if good else b"\x01\x01")
            if not good:
                return
        else:
            writer.write(b"\x05\x00")
        _, command, _, kind = await reader.readexactly(4)
        assert (command, kind) == (1, 3), "only CONNECT, only by name"
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.targets.append(f"{host}:{port}")
        upstream = await self._reach(host, port)
        writer.write(REPLY if upstream is not None else bytes([5, 4, 0, 1, 0, 0, 0, 0, 0, 0]))
        if upstream is not None:
            await _join(reader, writer, *upstream)

    async def _reach(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        if host not in self.names:
            return None
        return await asyncio.open_connection(self.names[host], port)


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    their_reader: asyncio.StreamReader,
    their_writer: asyncio.StreamWriter,
) -> None:
    await asyncio.gather(_copy(reader, their_writer), _copy(their_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
