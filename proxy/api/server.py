"""A small HTTP/1.1 server for a few answers: one request a connection, within a time."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import h11

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

TIMEOUT_S: Final = 10.0
MAX_HEAD_BYTES: Final = 16 * 1024
HEAD: Final = b"HEAD"
METHODS: Final = (b"GET", HEAD)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said: `content_type` is the header's value."""

    body: bytes
    content_type: str
    status: int = 200
    more: tuple[tuple[str, str], ...] = ()


type Handler = Callable[[str], Awaitable[Answer]]
"""Answers a request for the given host, as the `Host` header has it; empty where there is none."""


class HttpServer:
    """Answers GET and HEAD of the paths in `handlers`; a query says nothing, a body is not read."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers: Final = handlers
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError when the address is taken."""
        self._server = await asyncio.start_server(self._accept, host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Stop listening, and end what is open."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError, h11.LocalProtocolError):  # TimeoutError is one
                async with asyncio.timeout(TIMEOUT_S):
                    await self._serve(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        try:
            request = await _request(http, reader)
            if request is None:
                return
            answer = await self._answer(request)
        except h11.RemoteProtocolError as error:
            request, answer = None, plain(error.error_status_hint)
        writer.write(_sent(http, answer, with_body=request is None or request.method != HEAD))
        await writer.drain()

    async def _answer(self, request: h11.Request) -> Answer:
        path = request.target.decode("latin-1").partition("?")[0]
        handler = self._handlers.get(path)
        if handler is None:
            return plain(HTTPStatus.NOT_FOUND)
        if request.method not in METHODS:
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, ("allow", b", ".join(METHODS).decode()))
        hosts = [value.decode("latin-1") for name, value in request.headers if name == b"host"]
        return await handler(hosts[0] if len(hosts) == 1 else "")


async def _request(http: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """The head of the request; None where the other side has gone. Raises `h11.RemoteProtocolError`."""
    while True:
        event = http.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        http.receive_data(await reader.read(MAX_HEAD_BYTES))


def _sent(http: h11.Connection, answer: Answer, *, with_body: bool) -> bytes:
    fields = {"content-type": answer.content_type, "content-length": str(len(answer.body)), "connection": "close"}
    head = h11.Response(
        status_code=answer.status, reason=HTTPStatus(answer.status).phrase, headers=[*fields.items(), *answer.more]
    )
    body = http.send(head), http.send(h11.Data(data=answer.body if with_body else b"")), http.send(h11.EndOfMessage())
    return b"".join(part or b"" for part in body)


def plain(status: int, *more: tuple[str, str]) -> Answer:
    """An answer that is only its status, with `more` headers."""
    text = f"{int(status)} {HTTPStatus(status).phrase}"
    return Answer(text.encode(), "text/plain; charset=utf-8", int(status), more)
