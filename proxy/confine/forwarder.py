"""Carries redirected connections to the sidecar, each with a PROXY header that says where it was going."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Final

from proxy.canonical import proxy_protocol
from proxy.confine.redirected import dialled

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_CONNECTIONS: Final = 1024
CHUNK_BYTES: Final = 256 * 1024
CONNECT_S: Final = 5.0


class Forwarder:
    """Serves the connections of one namespace.

    Args:
        sidecar: path of its socket.
        name_of: the name that the stub has given an address out for.
    """

    def __init__(self, sidecar: str, name_of: Callable[[str], str | None]) -> None:
        self._sidecar: Final = sidecar
        self._name_of: Final = name_of
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to its end; one that was not redirected, or is beyond the ceiling, is reset."""
        self._open += 1
        try:
            header = None if self._open > MOST_CONNECTIONS else self._header(writer)
            if header is None:
                _reset(writer)
                return
            async with asyncio.timeout(CONNECT_S):
                theirs, sidecar = await asyncio.open_unix_connection(self._sidecar, limit=CHUNK_BYTES)
            sidecar.write(header)
            await _carry(reader, writer, theirs, sidecar)
        except (OSError, TimeoutError):
            _reset(writer)
        finally:
            self._open -= 1

    def _header(self, writer: asyncio.StreamWriter) -> bytes | None:
        destination = dialled(writer.get_extra_info("socket"))
        if destination is None:
            return None
        source = writer.get_extra_info("peername")[:2]
        return proxy_protocol.encode(source, destination, self._name_of(destination[0]))


async def _carry(
    agent_in: asyncio.StreamReader,
    agent_out: asyncio.StreamWriter,
    sidecar_in: asyncio.StreamReader,
    sidecar_out: asyncio.StreamWriter,
) -> None:
    """Both ways until both have ended; where one breaks, both ends are reset, so that nobody takes a part for all."""
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_pour(agent_in, sidecar_out))
            both.create_task(_pour(sidecar_in, agent_out))
    except* OSError:
        _reset(agent_out)
        sidecar_out.transport.abort()
    finally:
        for writer in (agent_out, sidecar_out):
            with contextlib.suppress(OSError):
                writer.close()


def _reset(agent: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        agent.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    agent.transport.abort()


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(CHUNK_BYTES):
        sink.write(data)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()
