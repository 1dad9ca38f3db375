"""Whether a 101 is the answer to this very WebSocket request."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from typing import TYPE_CHECKING, Final

from proxy.firewall.headers import values_of
from proxy.websocket.deflate import agreed

if TYPE_CHECKING:
    from proxy.model import Headers, RequestHead

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""Source: RFC 6455, section 1.3."""


def accept_value(key: str) -> str:
    """The `sec-websocket-accept` that belongs to the request's `sec-websocket-key`."""
    return b64encode(sha1(key.encode("latin-1") + GUID, usedforsecurity=False).digest()).decode()


def upgrade_fault(headers: Headers, request: RequestHead) -> str | None:
    """Why the upstream's 101 must not be believed; None when it may be.

    The only extension is permessage-deflate, where it was offered: what we cannot decode could not be scanned.

    Source: RFC 6455, section 4.1, steps 2 to 6 of the client's checks.
    """
    key = request.header("sec-websocket-key")
    if not request.websocket or key is None:
        return "The provider switched protocols without being asked."
    if [v.lower() for v in values_of(headers, "upgrade")] != ["websocket"]:
        return "The provider switched to another protocol."
    if "upgrade" not in (v.lower() for v in values_of(headers, "connection")):
        return "The provider's upgrade is incomplete."
    if values_of(headers, "sec-websocket-accept") != [accept_value(key)]:
        return "The provider's answer does not belong to this request."
    try:
        agreed(request.header("sec-websocket-extensions"), values_of(headers, "sec-websocket-extensions"))
    except ValueError:
        return "The provider negotiated an extension that was not offered."
    return _protocol_fault(headers, request)


def _protocol_fault(headers: Headers, request: RequestHead) -> str | None:
    chosen = values_of(headers, "sec-websocket-protocol")
    if len(chosen) > 1 or not set(chosen) <= set(values_of(request.headers, "sec-websocket-protocol")):
        return "The provider chose a protocol that was not offered."
    return None
