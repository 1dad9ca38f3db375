"""A gRPC provider (grpcio) that repeats what it was told, as careless ones do. Messages are plain bytes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SERVICE = "test.Echo"
LIMIT_S = 20


@dataclass
class GrpcProvider:
    """`metadata` is what the last call brought; `deadline_s` what it had left; `ended` how each call ended."""

    pem: Path
    port: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    deadline_s: float | None = None
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    compression: grpc.Compression | None = None
    _server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen on loopback with the key and chain of `pem`."""
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Down": grpc.unary_stream_rpc_method_handler(self.down),
            "Up": grpc.stream_unary_rpc_method_handler(self.up),
            "Both": grpc.stream_stream_rpc_method_handler(self.both),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Wait": grpc.unary_unary_rpc_method_handler(self.wait),
        }
        data = self.pem.read_bytes()
        credentials = grpc.ssl_server_credentials([(data, data)])
        self._server = grpc.aio.server(compression=self.compression)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        await self._server.start()

    async def stop(self) -> None:
        assert self._server is not None
        await self._server.stop(None)

    def _note(self, context: grpc.aio.ServicerContext) -> str:
        self.metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
        self.deadline_s = context.time_remaining()
        return self.metadata.get("authorization", "none")

    async def unary(self, message: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """The message, and the credential in message, metadata and trailers."""
        told = self._note(context)
        await context.send_initial_metadata((("told", told),))
        context.set_trailing_metadata((("told-again", told), ("told-bin", told.encode())))
        return message + b"|" + told.encode() + b"|" + b"end"

    async def down(self, message: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        told = self._note(context).encode()
        for index in range(int(message)):
            yield b"%d %s" % (index, told)

    async def up(self, messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> bytes:
        self._note(context)
        return b",".join([message async for message in messages])

    async def both(self, messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        self._note(context)
        async for message in messages:
            yield message.upper()

    async def fail(self, _message: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """Trailers-only: no message, the credential in `grpc-message`."""
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"bad key “{self._note(context)}” 100%")

    async def wait(self, _message: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """Never answers; notes that the call was cancelled."""
        self._note(context)
        try:
            await asyncio.sleep(LIMIT_S)
        finally:
            self.cancelled.set()
        return b""
