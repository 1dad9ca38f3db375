"""The provider of the measurements: TLS, HTTP/1.1, keep-alive, as cheap as asyncio allows.

`POST /v1/echo` is answered with 1 KiB of JSON; `GET /v1/stream` with server-sent events, the first at once and the
last after `STREAM_S`. The header `X-Key` of an answer says whether the request held the real key (`right`) or not
(`other`), so that a run proves what it measured.

    python bench/upstream.py FOLDER KEY     writes FOLDER/root.pem, prints {"port": ...}, ends with its standard input
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import serialization

from certs.authority import CertificateAuthority
from proxy.clock import SystemClock

if TYPE_CHECKING:
    from certs.leaf import Leaf

HOST: Final = "localhost"
STREAM_S: Final = 0.1
BACKLOG: Final = 1024
END_OF_HEAD: Final = b"\r\n\r\n"
LENGTH: Final = b"content-length:"
BODY: Final = json.dumps({"id": "call-1", "object": "echo", "text": "lorem ipsum " * 80}).encode().ljust(1024)
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\nX-Key: %s\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self, key: bytes) -> None:
        self._bearer: Final = b"Bearer " + key
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's call."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """asyncio's call: answer every request that is complete."""
        self._buffer += data
        while (end := self._buffer.find(END_OF_HEAD)) >= 0:
            head = self._buffer[:end]
            total = end + len(END_OF_HEAD) + body_bytes(head)
            if len(self._buffer) < total:
                return
            self._buffer = self._buffer[total:]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        assert self._transport is not None
        key = b"right" if self._bearer in head else b"other"
        if head.startswith(b"GET /v1/stream"):
            start = HEAD % (b"text/event-stream", b"Transfer-Encoding: chunked", key)
            self._transport.write(start + chunk(b"data: first\n\n"))
            asyncio.get_running_loop().call_later(STREAM_S, self._finish)
        else:
            self._transport.write(HEAD % (b"application/json", b"Content-Length: 1024", key) + BODY)

    def _finish(self) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.write(chunk(b"data: last\n\n") + b"0\r\n\r\n")


def body_bytes(head: bytes) -> int:
    """The value of Content-Length, else 0."""
    lower = head.lower()
    at = lower.find(LENGTH)
    return 0 if at < 0 else int(lower[at + len(LENGTH) :].split(b"\r\n", 1)[0])


def chunk(data: bytes) -> bytes:
    """One chunk (RFC 9112, section 7.1)."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def server_context(folder: Path) -> ssl.SSLContext:
    """A leaf for `HOST` below a root of its own, which is left in `folder` for whoever must trust it."""
    authority = CertificateAuthority.ephemeral(patterns=[HOST], clock=SystemClock())
    (folder / "root.pem").write_bytes(authority.bundle_pem())
    leaf: Leaf = authority.leaf(HOST)
    pem = serialization.Encoding.PEM
    file = folder / "upstream.pem"
    file.touch(mode=0o600)
    key = leaf.key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(key + b"".join(cert.public_bytes(pem) for cert in (leaf.cert, *leaf.chain)))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context


async def main(folder: Path, key: str) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Upstream(key.encode()), "127.0.0.1", 0, ssl=server_context(folder), backlog=BACKLOG
    )
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
