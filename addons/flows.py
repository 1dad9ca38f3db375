"""Between mitmproxy's flows and our heads."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, cast

from mitmproxy import http

from proxy.exchange import ANSWER_KEY, BODYLESS_KEY, EXCHANGE_KEY, Exchange
from proxy.model import RawHead, ResponseHead

if TYPE_CHECKING:
    from mitmproxy.connection import Client

    from proxy.errors import Answer, Denial
    from proxy.exchange import Forward, Tunnel
    from proxy.model import Headers

NO_BODY = frozenset({204, 304})


class Handler(Protocol):
    """What the engine's handler shows to addons."""

    tunnel: Tunnel
    open_exchanges: set[Exchange]


class _AgentConnection(Protocol):
    handler: Handler


def handler_of(client: Client) -> Handler:
    """The handler of the agent's connection."""
    return cast("_AgentConnection", client).handler


def exchange_of(flow: http.HTTPFlow) -> Exchange:
    """The flow's exchange. Raises KeyError where the gate has not run; the strict addon manager then refuses."""
    found = flow.metadata[EXCHANGE_KEY]
    assert isinstance(found, Exchange)
    return found


def raw_head(flow: http.HTTPFlow) -> RawHead:
    """The request head as the engine parsed it; absolute-form targets are put together again."""
    request = flow.request
    return RawHead(
        method=request.data.method,
        target=getattr(request, "raw_target", request.data.path),
        authority=request.data.authority if request.is_http2 else b"",
        scheme=request.data.scheme if request.is_http2 else b"",
        headers=request.headers.fields,
        http_version=request.http_version,
        end_stream=bool(flow.metadata.get(BODYLESS_KEY, False)),
    )


def apply(flow: http.HTTPFlow, forward: Forward) -> None:
    """Make the flow's request exactly the decided head (P8)."""
    request, head = flow.request, forward.head
    data = request.data
    data.method = head.method.encode()
    data.scheme = head.scheme.encode()
    data.host, data.port = head.authority.host, head.authority.port
    data.path = (head.path if head.query is None else f"{head.path}?{head.query}").encode("ascii")
    default = 443 if head.scheme == "https" else 80
    host = f"[{head.authority.host}]" if ":" in head.authority.host else head.authority.host
    authority = (host if head.authority.port == default else f"{host}:{head.authority.port}").encode()
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in head.headers]
    if request.is_http2:
        data.authority = authority
    else:
        data.authority = b""
        data.http_version = b"HTTP/1.1"
        fields.insert(0, (b"host", authority))
    if forward.body is not None:
        fields = [(name, value) for name, value in fields if name not in (b"content-length", b"expect")]
        fields.append((b"content-length", str(len(forward.body)).encode()))
        data.content = forward.body
    elif head.content_length is not None and not any(name == b"content-length" for name, _ in fields):
        fields.append((b"content-length", str(head.content_length).encode()))
    if head.websocket:
        fields += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
    data.headers = http.Headers(fields)
    request.stream = forward.body is None and head.has_body


def answer(flow: http.HTTPFlow, step: Denial | Answer) -> None:
    """Have the stream answer the flow at once: with a problem document, or with what is given."""
    flow.request.stream = False
    flow.metadata[ANSWER_KEY] = step


def response_head(flow: http.HTTPFlow, *, end_stream: bool) -> ResponseHead:
    """The upstream's head, names in lower case."""
    assert flow.response is not None
    headers = tuple((n.lower().decode("latin-1"), v.decode("latin-1")) for n, v in flow.response.headers.fields)
    return ResponseHead(flow.response.status_code, headers, end_stream)


def apply_response(flow: http.HTTPFlow, headers: Headers, *, end_stream: bool) -> None:
    """Give the response these headers and the framing that the agent's connection needs."""
    response = flow.response
    assert response is not None
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    response.headers = http.Headers(fields)
    try:
        phrase = HTTPStatus(response.status_code).phrase
    except ValueError:
        phrase = ""
    response.data.reason = b"" if response.is_http2 else phrase.encode()  # the upstream's words stay outside
    body = not (end_stream or response.status_code in NO_BODY or flow.request.method == "HEAD")
    if not flow.request.is_http2:
        response.data.http_version = b"HTTP/1.1"
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            response.headers["connection"], response.headers["upgrade"] = "Upgrade", "websocket"
        elif body and "content-length" not in response.headers:
            if flow.client_conn.state and _speaks_chunked(flow):
                response.headers["transfer-encoding"] = "chunked"
            else:
                response.headers["connection"] = "close"


def _speaks_chunked(flow: http.HTTPFlow) -> bool:
    return not flow.metadata.get("briefcased.http10", False)
