"""Single requests to a rig's proxy, by hand, from a source address of one's own."""

from __future__ import annotations

import asyncio
import base64
import itertools
from typing import TYPE_CHECKING

from tests.rig.raw import RawAnswer, read_answer

if TYPE_CHECKING:
    from tests.rig import Rig

NONSENSE = "bca_AAAAAAAAAAAA_" + "A" * 43


async def asked(rig: Rig, raw: bytes, source: str = "127.0.0.1") -> RawAnswer:
    reader, writer = await asyncio.open_connection(*rig.sidecar.proxy, local_addr=(source, 0))
    writer.write(raw)
    try:
        return await read_answer(reader, head_only=raw.startswith(b"CONNECT") and b"200 Conn" in raw)
    finally:
        writer.transport.abort()


def connect(rig: Rig, *lines: str) -> bytes:
    target = f"api.example.test:{rig.provider.port}"
    return "\r\n".join([f"CONNECT {target} HTTP/1.1", f"Host: {target}", *lines, "", ""]).encode("latin-1")


def absolute(rig: Rig, *lines: str) -> bytes:
    target = f"api.example.test:{rig.provider.port}"
    return "\r\n".join([f"GET http://{target}/x HTTP/1.1", f"Host: {target}", *lines, "", ""]).encode("latin-1")


SOURCES = (f"127.1.{n // 250}.{n % 250 + 1}" for n in itertools.count())
"""A throttle counts by address: each case comes from one of its own."""


def basic(user: str, password: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
