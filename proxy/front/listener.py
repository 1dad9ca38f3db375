"""Accepts agents' connections, authenticates them, answers refusals, hands the rest to a lane."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

from proxy.canonical.wire import END_OF_HEAD
from proxy.errors import Denial
from proxy.front.answer import TUNNEL_OPEN, refusal
from proxy.front.grammar import Connect, first_head, hello_missing
from proxy.front.passthrough import pass_through
from proxy.model import Agent

if TYPE_CHECKING:
    from proxy.egress.dial import Dialler
    from proxy.exchange import Tunnel
    from proxy.identity.registry import Authenticator
    from proxy.model import Authority
    from proxy.pipeline import Pipeline
    from proxy.settings import Limits

_log: Final = logging.getLogger("proxy.front")
MAX_CHALLENGES: Final = 3
BACKLOG: Final = 1024
LINGER_S: Final = 1.0
LINGER_BYTES: Final = 1024 * 1024


class Lane(Protocol):
    """What takes a connection over once the front knows whose it is."""

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tunnel: Tunnel, prefix: bytes
    ) -> None:
        """Serve the connection until it ends; `prefix` was read from it already."""
        ...


class Front:
    """The proxy's listener on one address."""

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        authenticator: Authenticator,
        lane: Lane,
        dialler: Dialler,
        limits: Limits,
    ) -> None:
        self._pipeline: Final = pipeline
        self.authenticator = authenticator
        self._lane: Final = lane
        self._dialler: Final = dialler
        self._limits: Final = limits
        self._server: asyncio.Server | None = None
        self._open = 0
        self._per_agent: Final[Counter[str]] = Counter()
        self._tasks: Final[set[asyncio.Task[None]]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError when the address is taken."""
        self._server = await asyncio.start_server(
            self._accept, host, port, limit=self._limits.max_header_bytes, backlog=BACKLOG
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    @property
    def listening(self) -> bool:
        """Whether new connections are accepted."""
        return self._server is not None and self._server.is_serving()

    @property
    def connections(self) -> int:
        """Connections open now."""
        return self._open

    def stop_accepting(self) -> None:
        """Close the listener; connections go on."""
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        """Close the listener and end what is not with a lane yet."""
        self.stop_accepting()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open += 1
        try:
            raw = writer.get_extra_info("socket")
            if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            _log.debug("an agent's connection ended early")
        except asyncio.CancelledError:
            _log.debug("a connection was ended by the drain")
        finally:
            self._open -= 1
            self._tasks.discard(task)
            if not writer.transport.is_closing():
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open > self._limits.max_connections:
            await self._answer(
                reader, writer, Denial("overloaded", "Too many connections.", by="front", retry_after_s=1)
            )
            return
        for _ in range(MAX_CHALLENGES):
            head = await self._read_head(reader, writer)
            if head is None:
                return
            first = first_head(head)
            if isinstance(first, Denial):
                await self._refuse(reader, writer, None, None, first)
                return
            authority = first.authority if isinstance(first, Connect) else None
            await self.authenticator.prepare(first.proxy_authorization)
            agent = self.authenticator.authenticate(first.proxy_authorization, _source(writer))
            if isinstance(agent, Agent):
                await self._hand_over(reader, writer, agent, authority, head)
                return
            # A first request without credentials is how git and Java ask for the challenge: not yet an attempt.
            challenged = first.proxy_authorization is None and isinstance(first, Connect)
            if not challenged:
                await self._refuse(reader, writer, None, authority, agent)
                return
            await self._answer(reader, writer, agent, keep_alive=True)

    async def _read_head(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
        try:
            async with asyncio.timeout(self._limits.header_timeout_s):
                return await reader.readuntil(END_OF_HEAD)
        except asyncio.LimitOverrunError:
            await self._refuse(
                reader, writer, None, None, Denial("header_too_large", "The head is too large.", by="front")
            )
        except asyncio.IncompleteReadError as cut:
            if cut.partial:
                await self._refuse(
                    reader, writer, None, None, Denial("malformed_request", "The head is cut.", by="front")
                )
        return None

    async def _hand_over(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        agent: Agent,
        authority: Authority | None,
        head: bytes,
    ) -> None:
        if self._per_agent[agent.name] >= self._limits.max_connections_per_agent:
            busy = Denial("overloaded", "This agent has too many connections.", by="front", retry_after_s=1)
            await self._refuse(reader, writer, agent, authority, busy)
            return
        self._per_agent[agent.name] += 1
        try:
            if authority is None:
                await self._lane.serve(reader, writer, self._pipeline.plain_tunnel(agent), head)
            else:
                await self._open_tunnel(reader, writer, agent, authority)
        finally:
            self._per_agent[agent.name] -= 1
            if not self._per_agent[agent.name]:
                del self._per_agent[agent.name]

    async def _open_tunnel(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, agent: Agent, authority: Authority
    ) -> None:
        tunnel = await self._pipeline.on_connect(agent, authority)
        if isinstance(tunnel, Denial):
            await self._answer(reader, writer, tunnel)
            return
        if tunnel.unread is not None:
            await pass_through(reader, writer, tunnel.unread, self._pipeline, self._dialler, self._limits)
            return
        writer.write(TUNNEL_OPEN)
        hello = await self._peek_hello(reader)
        if hello is None:
            await self._pipeline.refuse_connection(
                agent, authority, Denial("malformed_request", "Only TLS is spoken inside a tunnel.", by="front")
            )
            return
        await self._lane.serve(reader, writer, tunnel, hello)

    async def _peek_hello(self, reader: asyncio.StreamReader) -> bytes | None:
        """The first TLS record, for the lane to read again; None when the agent speaks something else or nothing."""
        data = b""
        async with asyncio.timeout(self._limits.header_timeout_s):
            while missing := hello_missing(data):
                piece = await reader.read(missing)
                if not piece:
                    return None
                data += piece
        return None if missing is None else data

    async def _refuse(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        agent: Agent | None,
        authority: Authority | None,
        denial: Denial,
    ) -> None:
        await self._answer(reader, writer, await self._pipeline.refuse_connection(agent, authority, denial))

    async def _answer(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        denial: Denial,
        *,
        keep_alive: bool = False,
    ) -> None:
        receipt = denial.extra.get("receipt")
        known = receipt if isinstance(receipt, str) else None
        writer.write(refusal(denial, receipt=known, keep_alive=keep_alive))
        await writer.drain()
        if not keep_alive and writer.can_write_eof():
            # Closing while the agent still sends would be a reset, which eats the answer: half-close, then linger.
            writer.write_eof()
            await _discard(reader)


async def _discard(reader: asyncio.StreamReader) -> None:
    """Read and forget what the agent still sends, for a moment."""
    seen = 0
    try:
        async with asyncio.timeout(LINGER_S):
            while seen < LINGER_BYTES and (data := await reader.read(65_536)):
                seen += len(data)
    except TimeoutError:
        return


def _source(writer: asyncio.StreamWriter) -> str:
    peer = writer.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else "unix"
