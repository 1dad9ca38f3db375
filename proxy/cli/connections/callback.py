"""The loopback redirect: a listener that lives as long as one connection is made, and takes one answer.

It answers with fixed pages that hold nothing. Whatever comes may be from any program on this machine, or any page in
a browser: only the `state` tells our answer from others.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import h11

from proxy.credentials.kind import MintFailedError
from proxy.credentials.oauth.authorize import NotOursError
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_CONNECTIONS: Final = 16
HEAD_S: Final = 10.0
DONE: Final = "The answer has arrived. You can close this page; the terminal says how it went."
PAGES: Final = {
    200: DONE,
    400: "This is not the answer that briefcased waits for.",
    404: "There is nothing here.",
    405: "There is nothing here.",
    410: "The answer has arrived before.",
    421: "This is not the name of this listener.",
}
REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    410: "Gone",
    421: "Misdirected Request",
}
HEADERS: Final = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Connection", "close"),
)


class Callback:
    """One listener for one answer. `redirect` is a loopback URL; without a port one is picked."""

    def __init__(self, redirect: str) -> None:
        parts = urlsplit(redirect)
        self._host: Final = parts.hostname or ""
        self._port = parts.port or 0
        self._path: Final = parts.path
        self._netloc = parts.netloc
        self._server: asyncio.Server | None = None
        self._judge: Callable[[str], str] | None = None
        self._code: Final[asyncio.Future[str]] = asyncio.get_running_loop().create_future()
        self._connections = 0

    async def start(self) -> str:
        """Listen; the redirect URI. Raises `BriefcaseError` where the port is taken."""
        address = "127.0.0.1" if self._host == "localhost" else self._host
        try:
            self._server = await asyncio.start_server(self._serve, address, self._port, limit=MAX_HEAD_BYTES)
        except OSError as error:
            raise BriefcaseError(f"cannot listen for the answer on {address}:{self._port}: {error.strerror}") from None
        self._port = self._server.sockets[0].getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._netloc = f"{host}:{self._port}"
        return f"http://{self._netloc}{self._path}"

    def expect(self, judge: Callable[[str], str]) -> None:
        """From now on an answer may come.

        Args:
            judge: the code in a query; raises `NotOursError` for a query that changes nothing, and `MintFailedError`
                where the answer is ours and means that it is over.
        """
        self._judge = judge

    async def answer(self, *, within_s: float) -> str:
        """What the judge made of the query of our answer.

        Raises:
            MintFailedError: by the judge.
            BriefcaseError: nothing came within `within_s`.
        """
        try:
            async with asyncio.timeout(within_s):
                return await self._code
        except TimeoutError:
            raise BriefcaseError(f"no answer came within {within_s:g} s") from None

    async def close(self) -> None:
        """Stop listening; a page that is being sent is sent."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._server.wait_closed(), 1)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= MAX_CONNECTIONS:
                async with asyncio.timeout(HEAD_S):
                    status = self._status(await _head(reader))
                    writer.write(_page(status))
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
        except (OSError, TimeoutError, h11.RemoteProtocolError):
            pass
        finally:
            self._connections -= 1
            writer.close()

    def _status(self, request: h11.Request | None) -> int:
        """What becomes of one request; only the last step may end the waiting."""
        if request is None:
            return 400
        hosts = [value for name, value in request.headers if name == b"host"]
        path, _, query = request.target.decode("ascii", "replace").partition("?")
        if hosts != [self._netloc.encode("ascii")]:  # a name that was made to point here is not ours
            return 421
        if path != self._path:
            return 404
        if request.method != b"GET":
            return 405
        if self._judge is None:
            return 404
        if self._code.done():
            return 410
        try:
            self._code.set_result(self._judge(query))
        except NotOursError:
            return 400
        except MintFailedError as failed:
            self._code.set_exception(failed)
        return 200


async def _head(reader: asyncio.StreamReader) -> h11.Request | None:
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    while (event := http.next_event()) is h11.NEED_DATA:
        http.receive_data(await reader.read(MAX_HEAD_BYTES))
    return event if isinstance(event, h11.Request) else None


def _page(status: int) -> bytes:
    body = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Credential Briefcase</title>'
        f"<p>{PAGES[status]}</p></html>\n"
    ).encode()
    fields = (*HEADERS, ("Content-Length", str(len(body))))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {status} {REASONS[status]}\r\n{lines}\r\n".encode() + body
