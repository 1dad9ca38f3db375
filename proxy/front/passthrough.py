"""A tunnel that the operator lets through unread: vetted, counted, receipted, never decrypted."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from proxy.errors import Refused, render

if TYPE_CHECKING:
    from proxy.egress.dial import Dialler
    from proxy.exchange import Unread
    from proxy.pipeline import Pipeline
    from proxy.settings import Limits

CHUNK_BYTES: Final = 64 * 1024


async def pass_through(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    unread: Unread,
    pipeline: Pipeline,
    dialler: Dialler,
    limits: Limits,
) -> None:
    """Dial the tunnel's authority and copy both ways until one side ends or nothing moves for the idle time."""
    started_s = time.monotonic()
    sent = received = 0
    error: str | None = None
    try:
        upstream_reader, upstream_writer, _ = await dialler.connect(unread.dial)
    except Refused as refused:
        error = refused.denial.slug
        answer = render(refused.denial, receipt=unread.receipt)
        head = f"HTTP/1.1 {answer.status} Refused\r\nconnection: close\r\n".encode()
        head += b"".join(name + b": " + value + b"\r\n" for name, value in answer.headers)
        writer.write(head + b"\r\n" + answer.body)
        await writer.drain()
    else:
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            async with asyncio.TaskGroup() as group:
                up = group.create_task(_copy(reader, upstream_writer, limits.idle_timeout_s))
                down = group.create_task(_copy(upstream_reader, writer, limits.idle_timeout_s))
            sent, received = up.result(), down.result()
        finally:
            upstream_writer.close()
    finally:
        pipeline.end_pass_through(unread.receipt, started_s, sent=sent, received=received, error=error)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter, idle_s: float) -> int:
    """Copy until the end of `source`; returns the bytes copied."""
    copied = 0
    try:
        while True:
            async with asyncio.timeout(idle_s):
                data = await source.read(CHUNK_BYTES)
            if not data:
                break
            copied += len(data)
            target.write(data)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()
    except (OSError, TimeoutError):
        target.transport.abort()
    return copied
