"""What the front itself says to an agent, as bytes."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from proxy.canonical.wire import END_OF_HEAD
from proxy.errors import render

if TYPE_CHECKING:
    from proxy.errors import Denial

TUNNEL_OPEN: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


def refusal(denial: Denial, *, receipt: str | None, keep_alive: bool = False) -> bytes:
    """The problem document for `denial` as an HTTP/1.1 response."""
    answer = render(denial, receipt=receipt)
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}".encode()]
    lines += [name + b": " + value for name, value in answer.headers]
    if not keep_alive:
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + END_OF_HEAD + answer.body
