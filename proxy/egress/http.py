"""One HTTP call over verified TLS, for what the sidecar itself must know or obtain: bounded in size and time."""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import h11

from proxy.canonical import parse_authority
from proxy.egress.addresses import Reach, classify
from proxy.egress.dial import NAMED_BY_THE_OPERATOR, READ_LIMIT_BYTES
from proxy.egress.trust import TrustedContexts
from proxy.errors import BriefcaseError, Refused
from proxy.exchange import Dial

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from pathlib import Path

    from proxy.egress.dial import Dialler
    from proxy.model import Authority, UpstreamProxy

SCHEME: Final = "https://"
HTTPS_PORT: Final = 443
MAX_HEAD_BYTES: Final = 16 * 1024


class HttpFailedError(BriefcaseError):
    """No answer. The text is ours; it repeats nothing that was received."""


@dataclass(frozen=True, slots=True)
class Url:
    """An https URL; `target` is path and query."""

    authority: Authority
    target: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; names of headers are lower-case, the last of a name counts."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Question:
    """One request, whole."""

    method: str
    url: Url
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    max_bytes: int


class ClientIdentity(Protocol):
    """A client certificate with its key, ready for TLS."""

    def context(self, bundle: Path | None) -> ssl.SSLContext:
        """A context that presents it and verifies the other side against `bundle`, or the public roots."""
        ...


def parse_https(text: str) -> Url:
    """`https://host[:port][/path][?query]`.

    Raises:
        ValueError: anything else; credentials and fragments too.
    """
    if not text.startswith(SCHEME) or not text.isascii() or not text.isprintable() or set(text) & set(' "<>\\^`{|}#'):
        raise ValueError("a URL is https://HOST[:PORT]/PATH")
    place, slash, path = text.removeprefix(SCHEME).partition("/")
    authority = parse_authority(place.encode("ascii"), HTTPS_PORT)
    if authority is None:
        raise ValueError("a URL is https://HOST[:PORT]/PATH")
    return Url(authority, f"/{path}" if slash else "/")


class HttpClient:
    """Calls at places that the operator's settings or a profile name; every call is a connection of its own."""

    def __init__(self, *, dialler: Dialler, timeout_s: float) -> None:
        self._dialler: Final = dialler
        self._timeout_s: Final = timeout_s
        self._trust: Final = TrustedContexts()

    async def get(
        self,
        url: Url,
        *,
        headers: Mapping[str, str],
        max_bytes: int,
        trust: Path | None = None,
        via: UpstreamProxy | None = None,
    ) -> Answer:
        """As `request`, at a place that the operator's settings name: private and loopback addresses are allowed."""
        return await self.request(
            "GET",
            url,
            headers=headers,
            max_bytes=max_bytes,
            trust=trust,
            via=via,
            allow_private=NAMED_BY_THE_OPERATOR,
        )

    async def request(
        self,
        method: str,
        url: Url,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        max_bytes: int,
        trust: Path | None = None,
        via: UpstreamProxy | None = None,
        allow_private: tuple[str, ...] = (),
        identity: ClientIdentity | None = None,
    ) -> Answer:
        """The answer, whatever its status; redirects are not followed, and its content is at most `max_bytes`.

        Args:
            method: as it is sent; with a body, or other than GET, HEAD and DELETE, a Content-Length goes along.
            url: where.
            headers: besides `Host`, `Accept-Encoding`, `Connection` and `Content-Length`.
            body: whole.
            max_bytes: of the answer's content.
            trust: PEM bundle of roots; None for the public ones.
            via: the operator's proxy to go through.
            allow_private: CIDR blocks that the name may resolve to although they are private.
            identity: the client certificate to present.

        Raises:
            HttpFailedError: refused address, no connection, no trust, bad HTTP, too long or too late, or a header
                that cannot be sent.
        """
        dial = Dial(url.authority, True, "-", "-", trust, allow_private, via)
        fields = {**headers}
        if body or method not in ("GET", "HEAD", "DELETE"):
            fields["content-length"] = str(len(body))
        try:
            async with asyncio.timeout(self._timeout_s):
                context = self._trust.context(trust) if identity is None else identity.context(trust)
                _, writer, _ = await self._dialler.connect(dial)
                try:
                    return await self._ask(writer, _Question(method, url, fields, body, max_bytes), context)
                finally:
                    writer.transport.abort()
        except Refused as refused:
            raise HttpFailedError(f"{url.authority}: {refused.denial.detail}") from None
        except TimeoutError:
            raise HttpFailedError(f"{url.authority}: no answer within {self._timeout_s:g} s") from None
        except OSError:  # SSLError is one
            raise HttpFailedError(f"{url.authority}: the connection failed, or is not trusted") from None
        except h11.RemoteProtocolError:
            raise HttpFailedError(f"{url.authority}: the answer is not valid HTTP") from None
        except (h11.LocalProtocolError, UnicodeEncodeError):  # both hold the header, and so perhaps a secret
            raise HttpFailedError(f"{url.authority}: a header has characters that cannot be sent") from None

    async def metadata(self, place: Authority, target: str, *, headers: Mapping[str, str], max_bytes: int) -> Answer:
        """What the machine's metadata service says, in plain HTTP: these services have no TLS.

        `place` is an address of the metadata or the loopback kind, never a name, so that nothing but the machine itself
        can answer.

        Raises:
            HttpFailedError: another kind of address, no connection, bad HTTP, too long or too late.
        """
        if not _is_metadata(place.host):
            raise HttpFailedError(f"{place}: not the address of a metadata service")
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await asyncio.open_connection(place.host, place.port, limit=READ_LIMIT_BYTES)
                try:
                    fields = {"host": str(place), "accept-encoding": "identity", "connection": "close", **headers}
                    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
                    head = http.send(h11.Request(method="GET", target=target, headers=list(fields.items()))) or b""
                    writer.write(head + (http.send(h11.EndOfMessage()) or b""))
                    return await _answer(http, reader, max_bytes, str(place))
                finally:
                    writer.transport.abort()
        except TimeoutError:
            raise HttpFailedError(f"{place}: no answer within {self._timeout_s:g} s") from None
        except OSError:
            raise HttpFailedError(f"{place}: the connection failed") from None
        except h11.RemoteProtocolError:
            raise HttpFailedError(f"{place}: the answer is not valid HTTP") from None

    async def _ask(self, writer: asyncio.StreamWriter, asked: _Question, context: ssl.SSLContext) -> Answer:
        authority = asked.url.authority
        reader, transport = await _over_tls(writer, context, authority.host)
        host = str(authority).removesuffix(f":{HTTPS_PORT}")
        fields = {"host": host, "accept-encoding": "identity", "connection": "close", **asked.headers}
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        sent = http.send(h11.Request(method=asked.method, target=asked.url.target, headers=list(fields.items()))) or b""
        if asked.body:
            sent += http.send(h11.Data(asked.body)) or b""
        transport.write(sent + (http.send(h11.EndOfMessage()) or b""))
        try:
            return await _answer(http, reader, asked.max_bytes, str(authority))
        finally:
            transport.abort()


def _is_metadata(host: str) -> bool:
    try:
        return classify(ipaddress.ip_address(host)) in (Reach.METADATA, Reach.LOOPBACK)
    except ValueError:
        return False


async def _over_tls(
    writer: asyncio.StreamWriter, context: ssl.SSLContext, host: str
) -> tuple[asyncio.StreamReader, asyncio.WriteTransport]:
    """TLS on a connection that carried something else before. The reader is new: nothing that came in plain is read."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=READ_LIMIT_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport = await loop.start_tls(writer.transport, protocol, context, server_hostname=host)
    if transport is None:
        raise OSError("the connection was closed")
    protocol.connection_made(transport)
    return reader, transport


async def _answer(http: h11.Connection, reader: asyncio.StreamReader, max_bytes: int, host: str) -> Answer:
    response: h11.Response | None = None
    body = bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(READ_LIMIT_BYTES))
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > max_bytes:
                raise HttpFailedError(f"{host}: the answer is longer than {max_bytes} bytes")
        elif isinstance(event, h11.EndOfMessage) and response is not None:
            fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
            return Answer(response.status_code, fields, bytes(body))
        elif not isinstance(event, h11.InformationalResponse):
            raise HttpFailedError(f"{host}: the connection ended early")
