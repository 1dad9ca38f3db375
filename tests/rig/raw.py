"""HTTP/1.1 by hand, for what a well-behaved client would never send or show."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass


@dataclass
class RawAnswer:
    """`ended` is how the connection stood after the answer: `open`, `closed` or `reset`."""

    status: int
    headers: dict[str, str]
    body: bytes
    ended: str = "open"

    @property
    def problem(self) -> str | None:
        if self.headers.get("content-type") != "application/problem+json":
            return None
        return str(json.loads(self.body)["type"]).removeprefix("urn:briefcased:error:")


async def read_answer(reader: asyncio.StreamReader, *, head_only: bool = False) -> RawAnswer:
    """One response; its body by Content-Length, chunked, or to the end of the connection."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    status = int(first.split(" ")[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if head_only or status in (101, 204, 304):
        return RawAnswer(status, headers, b"")
    if "content-length" in headers:
        return RawAnswer(
            status, headers, await asyncio.wait_for(reader.readexactly(int(headers["content-length"])), 10)
        )
    body, ended = b"", "open"
    if headers.get("transfer-encoding") == "chunked":
        try:
            while size := int(await asyncio.wait_for(reader.readuntil(b"\r\n"), 10), 16):
                body += await asyncio.wait_for(reader.readexactly(size), 10)
                await reader.readexactly(2)
            await reader.readuntil(b"\r\n")
        except asyncio.IncompleteReadError:
            ended = "closed"
        except OSError:
            ended = "reset"
        return RawAnswer(status, headers, body, ended)
    try:
        while piece := await asyncio.wait_for(reader.read(65536), 10):
            body += piece
    except OSError:
        return RawAnswer(status, headers, body, "reset")
    return RawAnswer(status, headers, body, "closed")


async def end_of(reader: asyncio.StreamReader) -> str:
    """How the connection ends: `closed`, `reset`, or `data` when something more comes."""
    try:
        return "data" if await asyncio.wait_for(reader.read(65536), 10) else "closed"
    except OSError:
        return "reset"
