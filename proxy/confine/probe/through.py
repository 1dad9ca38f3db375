"""Ways out through the sidecar: what it must refuse, asked of it as an agent would."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from proxy.confine.probe.judge import through_proxy
from proxy.confine.probe.ways import Attempt, Seen, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.confine.probe.plan import Plan

type Trial = Callable[[], Attempt]
VARIABLES: Final = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
CONTROL_PORT: Final = 8081
CONNECTS: Final = (
    ("connect_address", ("1.1.1.1:443", "8.8.8.8:22", "[2606:4700:4700::1111]:443")),
    ("connect_local", ("127.0.0.1:8081", "localhost:22", "[::1]:8081", "0.0.0.0:8081", "10.0.0.1:443")),
    ("connect_metadata", ("169.254.169.254:80", "[fd00:ec2::254]:80", "metadata.google.internal:80")),
)
PLAIN: Final = (
    ("connect_address", "http://1.1.1.1/"),
    ("connect_local", "http://127.0.0.1:8081/healthz"),
    ("connect_metadata", "http://169.254.169.254/latest/meta-data/"),
)
MOST_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where the sidecar listens, and the header that says who we are; the header holds a token and is never shown."""

    host: str
    port: int
    tls: bool
    credentials: bytes = field(repr=False)


def proxy_of(plan: Plan) -> Proxy | None:
    """The sidecar as the proxy variables name it; None where they name none."""
    for variable in VARIABLES:
        parts = urlsplit(plan.environment.get(variable, ""))
        with contextlib.suppress(ValueError):
            if parts.hostname:
                pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
                line = b"Proxy-Authorization: Basic " + base64.b64encode(pair) + b"\r\n"
                port = parts.port or (443 if parts.scheme == "https" else 80)
                return Proxy(parts.hostname, port, parts.scheme == "https", line if parts.username else b"")
    return None


def sidecar_trials(plan: Plan) -> Iterator[Trial]:
    """Everything that is asked of the sidecar; each trial may be run in a thread of its own."""
    proxy = proxy_of(plan)
    for way, authorities in CONNECTS:
        for authority in authorities:
            head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"
            yield partial(asked, proxy, way, f"CONNECT {authority}", head, timeout_s=plan.timeout_s)
    for way, url in PLAIN:
        head = f"GET {url} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n"
        yield partial(asked, proxy, way, f"GET {url}", head, timeout_s=plan.timeout_s)
    yield partial(control_listener, proxy, timeout_s=plan.timeout_s)


def asked(proxy: Proxy | None, way: str, target: str, head: str, *, timeout_s: float) -> Attempt:
    """Send one request to the sidecar and read what it answers."""
    if proxy is None:
        return Attempt(way, target, State.UNKNOWN, Seen.NO_PROXY)
    try:
        with _connected(proxy, timeout_s) as connection:
            connection.sendall(head.encode() + proxy.credentials + b"Connection: close\r\n\r\n")
            answer = _head_of(connection)
    except OSError:
        return Attempt(way, target, State.UNKNOWN, Seen.NO_PROXY)
    return Attempt(way, target, *through_proxy(answer))


def control_listener(proxy: Proxy | None, *, timeout_s: float) -> Attempt:
    """Ask for the health page at the control listener's usual port: on loopback, and beside the proxy."""
    hosts = ["127.0.0.1", *([proxy.host] if proxy is not None else [])]
    for host in hosts:
        with contextlib.suppress(OSError), socket.create_connection((host, CONTROL_PORT), timeout_s) as connection:
            connection.sendall(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            if _head_of(connection).startswith(b"HTTP/1.1 200"):
                return Attempt("control_listener", f"{host}:{CONTROL_PORT}", State.OPEN, Seen.ANSWERED)
    return Attempt("control_listener", f"{hosts[-1]}:{CONTROL_PORT}", State.CLOSED, Seen.NOBODY_LISTENS)


@contextlib.contextmanager
def _connected(proxy: Proxy, timeout_s: float) -> Iterator[socket.socket]:
    with socket.create_connection((proxy.host, proxy.port), timeout_s) as connection:
        if not proxy.tls:
            yield connection
            return
        context = ssl.create_default_context()  # SSL_CERT_FILE names the agent's bundle
        with context.wrap_socket(connection, server_hostname=proxy.host) as secured:
            yield secured


def _head_of(connection: socket.socket) -> bytes:
    """Bytes up to the end of the head, at most 16 KiB; what came before a timeout counts."""
    received = b""
    with contextlib.suppress(OSError):
        while b"\r\n\r\n" not in received and len(received) < MOST_BYTES:
            piece = connection.recv(MOST_BYTES)
            if not piece:
                break
            received += piece
    return received
