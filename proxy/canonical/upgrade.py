"""Which change of protocol a head asks for. WebSocket is carried, h2c may be ignored, nothing else is known."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final

from proxy.canonical.fields import members_of, values_of

if TYPE_CHECKING:
    from proxy.model import RawHead

_WEBSOCKET_KEY_BYTES: Final = 16
_SETTINGS: Final = re.compile(r"[A-Za-z0-9_-]*={0,2}")


def asks_for_websocket(raw: RawHead, headers: list[tuple[str, str]]) -> bool:
    """Whether this is a well-formed WebSocket handshake (RFC 6455, section 4.1)."""
    return (
        _asks_for(headers, "websocket")
        and (raw.method, raw.http_version, raw.end_stream) == (b"GET", "HTTP/1.1", True)
        and values_of(headers, "sec-websocket-version") == ["13"]
        and _is_websocket_key(values_of(headers, "sec-websocket-key"))
    )


def offers_h2c(raw: RawHead, headers: list[tuple[str, str]]) -> bool:
    """Whether this is a request that goes on as HTTP/1.1 where its well-formed offer of HTTP/2 is ignored.

    Source: RFC 7540, sections 3.2 and 3.2.1 (obsolete by RFC 9113, section 3.1). A server may ignore any `Upgrade`:
    RFC 9110, section 7.8.
    """
    settings = values_of(headers, "http2-settings")
    return (
        _asks_for(headers, "h2c")
        and raw.http_version == "HTTP/1.1"
        and "http2-settings" in members_of(headers, "connection")
        and len(settings) == 1
        and _SETTINGS.fullmatch(settings[0]) is not None
    )


def _asks_for(headers: list[tuple[str, str]], protocol: str) -> bool:
    """Whether `protocol` is asked for, alone, on this hop."""
    upgrades = values_of(headers, "upgrade")
    return len(upgrades) == 1 and upgrades[0].lower() == protocol and "upgrade" in members_of(headers, "connection")


def _is_websocket_key(values: list[str]) -> bool:
    try:
        return len(values) == 1 and len(base64.b64decode(values[0], validate=True)) == _WEBSOCKET_KEY_BYTES
    except (binascii.Error, ValueError):
        return False
