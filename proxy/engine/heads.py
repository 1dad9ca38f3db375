"""Heads of HTTP/1 as mitmproxy's messages, read by its own functions, without its type checks at run time.

The checks are for addons that set wrong types; here the types are known, and they cost a tenth of a request.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mitmproxy.http import Request, RequestData, Response, ResponseData
from mitmproxy.net.http.http1.read import _read_headers, _read_request_line, _read_response_line

if TYPE_CHECKING:
    from collections.abc import Sequence


class PlainRequestData(RequestData):
    """mitmproxy's, unchecked."""

    def __post_init__(self) -> None:
        """Nothing."""


class PlainResponseData(ResponseData):
    """mitmproxy's, unchecked."""

    def __post_init__(self) -> None:
        """Nothing."""


def read_request(lines: Sequence[bytes]) -> Request:
    """A request head. Raises ValueError when it is malformed."""
    host, port, method, scheme, authority, path, http_version = _read_request_line(lines[0])
    request = Request.__new__(Request)
    request.data = PlainRequestData(
        host=host,
        port=port,
        method=method,
        scheme=scheme,
        authority=authority,
        path=path,
        http_version=http_version,
        headers=_read_headers(lines[1:]),
        content=None,
        trailers=None,
        timestamp_start=time.time(),
        timestamp_end=None,
    )
    return request


def read_response(lines: Sequence[bytes]) -> Response:
    """A response head. Raises ValueError when it is malformed."""
    http_version, status_code, reason = _read_response_line(lines[0])
    response = Response.__new__(Response)
    response.data = PlainResponseData(
        http_version=http_version,
        status_code=status_code,
        reason=reason,
        headers=_read_headers(lines[1:]),
        content=None,
        trailers=None,
        timestamp_start=time.time(),
        timestamp_end=None,
    )
    return response
