"""What is pinned of mitmproxy: its version, its options, and the symbols that we override or call.

`docs/engine.md` says why each option has its value. A start refuses where one of these differs.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mitmproxy import addonmanager, http, master, version
from mitmproxy.net.http.http1 import read
from mitmproxy.proxy import server
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers import tls as tls_layers
from mitmproxy.proxy.layers.http import _http1, _http2

from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mitmproxy.options import Options

    from proxy.settings import Limits

OPTIONS: Final[Mapping[str, object]] = {
    "connection_strategy": "lazy",
    "upstream_cert": False,
    "rawtcp": False,
    "ssl_insecure": False,
    "http2": True,
    "http3": False,
    "websocket": True,
    "validate_inbound_headers": True,
    "normalize_outbound_headers": True,
    "store_streamed_bodies": False,
    "stream_large_bodies": None,
    "body_size_limit": None,
    "keep_host_header": False,
    "proxy_debug": False,
}
"""Every option that mitmproxy's layers read for HTTP, at the only value we run with."""

READ_BY_LAYERS: Final = (*OPTIONS, "tcp_timeout", "http2_ping_keepalive")
NEVER_TRUE: Final = ("emudhra", "emudhra_old")
"""Options of 12.3 that sign with a publicly known key; absent before."""

SEAMS: Final[Mapping[str, object]] = {
    "HttpStream.state_wait_for_request_headers": http_layers.HttpStream.state_wait_for_request_headers,
    "HttpStream.start_request_stream": http_layers.HttpStream.start_request_stream,
    "HttpStream.state_stream_request_body": http_layers.HttpStream.state_stream_request_body,
    "HttpStream.state_consume_request_body": http_layers.HttpStream.state_consume_request_body,
    "HttpStream.state_wait_for_response_headers": http_layers.HttpStream.state_wait_for_response_headers,
    "HttpStream.start_response_stream": http_layers.HttpStream.start_response_stream,
    "HttpStream.state_stream_response_body": http_layers.HttpStream.state_stream_response_body,
    "HttpStream.send_response": http_layers.HttpStream.send_response,
    "HttpStream.flow_done": http_layers.HttpStream.flow_done,
    "HttpStream.check_invalid": http_layers.HttpStream.check_invalid,
    "HttpStream.check_killed": http_layers.HttpStream.check_killed,
    "HttpStream.handle_protocol_error": http_layers.HttpStream.handle_protocol_error,
    "HttpStream.make_server_connection": http_layers.HttpStream.make_server_connection,
    "HttpLayer._handle_event": http_layers.HttpLayer._handle_event,  # noqa: SLF001
    "HttpLayer.event_to_child": http_layers.HttpLayer.event_to_child,
    "Http2Connection.handle_h2_event": _http2.Http2Connection.handle_h2_event,
    "Http2Connection.protocol_error": _http2.Http2Connection.protocol_error,
    "Http2Server.handle_h2_event": _http2.Http2Server.handle_h2_event,
    "HttpLayer.get_connection": http_layers.HttpLayer.get_connection,
    "HttpLayer.make_stream": http_layers.HttpLayer.make_stream,
    "Http1Server.read_headers": _http1.Http1Server.read_headers,
    "Http1Server.send": _http1.Http1Server.send,
    "Http1Connection.read_body": _http1.Http1Connection.read_body,
    "Http1Connection.mark_done": _http1.Http1Connection.mark_done,
    "Http1Connection.wait": _http1.Http1Connection.wait,
    "Http1Server.mark_done": _http1.Http1Server.mark_done,
    "Http1Client.send": _http1.Http1Client.send,
    "Http1Client.read_headers": _http1.Http1Client.read_headers,
    "HttpClient._handle_event": http_layers.HttpClient._handle_event,  # noqa: SLF001
    "Request.__init__": http.Request.__init__,
    "Response.__init__": http.Response.__init__,
    "_read_request_line": read._read_request_line,  # noqa: SLF001
    "_read_response_line": read._read_response_line,  # noqa: SLF001
    "_read_headers": read._read_headers,  # noqa: SLF001
    "HttpStream.passthrough": http_layers.HttpStream.passthrough,
    "ClientTLSLayer.receive_handshake_data": tls_layers.ClientTLSLayer.receive_handshake_data,
    "TLSLayer.start_tls": tls_layers.TLSLayer.start_tls,
    "TLSLayer.receive_handshake_data": tls_layers.TLSLayer.receive_handshake_data,
    "ConnectionHandler.handle_connection": server.ConnectionHandler.handle_connection,
    "ConnectionHandler.close_connection": server.ConnectionHandler.close_connection,
    "ConnectionHandler.wakeup": server.ConnectionHandler.wakeup,
    "LiveConnectionHandler.__init__": server.LiveConnectionHandler.__init__,
    "AddonManager.register": addonmanager.AddonManager.register,
    "AddonManager.invoke_addon": addonmanager.AddonManager.invoke_addon,
    "Master.__init__": master.Master.__init__,
}
"""What we override or rely on, by name."""


class EngineMismatchError(BriefcaseError):
    """The installed mitmproxy is not the one that this code was proved against."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A snapshot of the options. mitmproxy copies a value deeply at every read; a snapshot costs nothing."""

    connection_strategy: str
    upstream_cert: bool
    rawtcp: bool
    ssl_insecure: bool
    http2: bool
    http3: bool
    websocket: bool
    validate_inbound_headers: bool
    normalize_outbound_headers: bool
    store_streamed_bodies: bool
    stream_large_bodies: None
    body_size_limit: None
    keep_host_header: bool
    proxy_debug: bool
    tcp_timeout: int
    http2_ping_keepalive: int
    header_timeout_s: float
    idle_timeout_s: float
    held_body_timeout_s: float
    max_upstreams_per_host: int


def pinned(options: Options, limits: Limits) -> Pinned:
    """The snapshot, after asserting every pinned value. Raises `EngineMismatchError`."""
    for name, value in OPTIONS.items():
        if getattr(options, name) != value:
            raise EngineMismatchError(f"mitmproxy option {name} is not {value!r}")
    for name in NEVER_TRUE:
        if name in options and getattr(options, name):
            raise EngineMismatchError(f"mitmproxy option {name} is set")
    return Pinned(
        **{name: getattr(options, name) for name in OPTIONS},
        tcp_timeout=int(limits.idle_timeout_s),
        http2_ping_keepalive=int(getattr(options, "http2_ping_keepalive", 58)),
        header_timeout_s=limits.header_timeout_s,
        idle_timeout_s=limits.idle_timeout_s,
        held_body_timeout_s=limits.held_body_timeout_s,
        max_upstreams_per_host=limits.max_upstreams_per_host,
    )


@functools.cache  # what is loaded stays as it is, and a process may start several lanes
def fingerprints() -> Mapping[str, str]:
    """SHA-256 (first 16 hex digits) of the source of every seam."""
    sources = {name: inspect.getsource(seam) for name, seam in SEAMS.items()}  # type: ignore[arg-type]
    return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in sources.items()}


def check_seams(proved: Mapping[str, str]) -> None:
    """Refuse a mitmproxy whose seams are not those that the contract tests were run against.

    Raises:
        EngineMismatchError: names the first symbol that differs.
    """
    if sys.flags.optimize:
        raise EngineMismatchError("do not run with -O: assertions are part of the engine's checks")
    for name, found in fingerprints().items():
        if proved.get(name) != found:
            raise EngineMismatchError(
                f"mitmproxy {version.VERSION}: {name} has changed; run the contract tests in tests/engine and update"
                " proxy/engine/proved.py"
            )
