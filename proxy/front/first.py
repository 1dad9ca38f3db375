"""The first bytes of a connection, read in bounded time and space, for an entrance to judge."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from proxy.canonical.wire import END_OF_HEAD
from proxy.errors import Denial
from proxy.front.hello import hello_missing

if TYPE_CHECKING:
    from proxy.settings import Limits


async def read_head(reader: asyncio.StreamReader, limits: Limits) -> bytes | Denial | None:
    """An HTTP/1 head with its empty line; None when the agent left before it sent a byte.

    Raises:
        TimeoutError: it did not come in time.
    """
    try:
        async with asyncio.timeout(limits.header_timeout_s):
            return await reader.readuntil(END_OF_HEAD)
    except asyncio.LimitOverrunError:
        return Denial("header_too_large", "The head is too large.", by="front")
    except asyncio.IncompleteReadError as cut:
        return Denial("malformed_request", "The head is cut.", by="front") if cut.partial else None


async def read_hello(reader: asyncio.StreamReader, limits: Limits, *, begun: bytes = b"") -> bytes | None:
    """The first TLS record, for the lane to read again; None when the agent speaks something else or nothing.

    `begun` was read already.

    Raises:
        TimeoutError: it did not come in time.
    """
    data = begun
    async with asyncio.timeout(limits.header_timeout_s):
        while missing := hello_missing(data):
            piece = await reader.read(missing)
            if not piece:
                return None
            data += piece
    return None if missing is None else data
