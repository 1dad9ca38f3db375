"""A clock that stands still, and a real TLS server with a leaf in it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from OpenSSL import SSL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certs.leaf import Leaf

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass
class StillClock:
    """Time that moves when it is told to; starts at the real time, because real clients check validity."""

    now_ms: int

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_s(self) -> float:
        return self.now_ms / 1000


@pytest.fixture
def clock() -> StillClock:
    import time

    return StillClock(time.time_ns() // 1_000_000)


def server_context(leaf: Leaf) -> SSL.Context:
    """As `proxy/engine/tls.py` builds it."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(leaf.cert)
    context.use_privatekey(leaf.key)
    for issuer in leaf.chain:
        context.add_extra_chain_cert(issuer)
    return context


@contextlib.contextmanager
def tls_server(leaf: Leaf) -> Iterator[int]:
    """Answers every TLS connection with one HTTP response; yields its port."""
    context = server_context(leaf)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_serve, args=(listener, context))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _serve(listener: socket.socket, context: SSL.Context) -> None:
    while True:
        try:
            raw, _ = listener.accept()
        except OSError:
            return
        raw.setblocking(True)
        connection = SSL.Connection(context, raw)
        connection.set_accept_state()
        with contextlib.suppress(SSL.Error, OSError):
            connection.do_handshake()
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
            connection.shutdown()
        raw.close()


def handshake(leaf: Leaf, bundle: bytes, host: str) -> x509.Certificate:
    """A strict client in Python's `ssl` that trusts `bundle` alone. Raises `ssl.SSLError`."""
    context = ssl.create_default_context(cadata=bundle.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    # A root must be a root: an intermediate in the bundle must not do.
    context.verify_flags &= ~ssl.VERIFY_X509_PARTIAL_CHAIN
    with tls_server(leaf) as port, socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        with context.wrap_socket(raw, server_hostname=host) as secured:
            der = secured.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)
