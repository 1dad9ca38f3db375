"""A client that costs as little as Python allows: raw sockets, `ssl`, one buffer per connection."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Final

END_OF_HEAD: Final = b"\r\n\r\n"
TIMEOUT_S: Final = 30.0
RECEIVE_BYTES: Final = 65_536
REQUEST_BODY: Final = b"x" * 200
ECHO: Final = b"POST /v1/echo HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain\r\nContent-Length: 200\r\n"
STREAM: Final = b"GET /v1/stream HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n"


class BrokenError(Exception):
    """The other side did not behave; a measurement that meets it is worth nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is measured.

    Attributes:
        port: of the upstream on loopback.
        proxy_port: None goes there directly.
        bundle: PEM file of the roots to trust.
        proxy_authorization: what the proxy asks for; empty for none.
        authorization: what the agent sends to the upstream.
        key: what the upstream must say that it got: `right` or `other`.
    """

    host: str
    port: int
    proxy_port: int | None
    bundle: str
    proxy_authorization: str
    authorization: str
    key: str

    def request(self, line_and_headers: bytes, body: bytes = b"") -> bytes:
        """The bytes of one request."""
        host = f"{self.host}:{self.port}".encode()
        return line_and_headers % host + b"Authorization: %s\r\n\r\n" % self.authorization.encode() + body

    def context(self) -> ssl.SSLContext:
        """A context that verifies; use one for many connections."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.bundle)
        context.set_alpn_protocols(["http/1.1"])
        return context


def connect(target: Target, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A TLS connection to the upstream's name, through the proxy if there is one. Raises OSError, `BrokenError`."""
    raw = socket.create_connection(("127.0.0.1", target.proxy_port or target.port), timeout=TIMEOUT_S)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if target.proxy_port is not None:
        authority = f"{target.host}:{target.port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if target.proxy_authorization:
            lines.append(f"Proxy-Authorization: {target.proxy_authorization}")
        raw.sendall("\r\n".join(lines).encode() + END_OF_HEAD)
        answer = b""
        while END_OF_HEAD not in answer:
            if not (data := raw.recv(RECEIVE_BYTES)):
                raise BrokenError("the proxy closed the connection instead of opening a tunnel")
            answer += data
        if b" 200 " not in answer.split(b"\r\n", 1)[0]:
            raise BrokenError(f"no tunnel: {answer.split(b'\r\n', 1)[0].decode('latin-1')}")
    return context.wrap_socket(raw, server_hostname=target.host)


def complete(received: bytes, key: bytes) -> bool:
    """Whether `received` is one whole answer of 1 KiB. Raises `BrokenError` for any other answer."""
    end = received.find(END_OF_HEAD)
    if end < 0:
        return False
    head = received[:end].lower()
    if not head.startswith(b"http/1.1 200") or b"\r\nx-key: " + key not in head:
        raise BrokenError(f"unexpected answer: {received[: end + 200].decode('latin-1')}")
    if b"\r\ntransfer-encoding: chunked" in head:
        return received.endswith(b"\r\n0\r\n\r\n")
    return len(received) - end - len(END_OF_HEAD) >= 1024


def call(connection: ssl.SSLSocket, request: bytes, key: bytes) -> None:
    """One request and its answer, blocking. Raises OSError, `BrokenError`."""
    connection.sendall(request)
    received = b""
    while not complete(received, key):
        if not (data := connection.recv(RECEIVE_BYTES)):
            raise BrokenError("the connection ended within an answer")
        received += data
