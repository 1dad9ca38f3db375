"""Accepts agents' connections on every listener, counts them, and leads each through its entrance to a lane."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from proxy.errors import Denial
from proxy.exchange import Tunnel
from proxy.front.answer import answer
from proxy.front.base_url import BaseUrlEntrance
from proxy.front.names import StubResolver
from proxy.front.owner import NO_SVID, Place, owner_of
from proxy.front.proxying import ProxyEntrance
from proxy.front.sockets import BACKLOG, Listening, open_sockets
from proxy.front.tls import LOOK_S, Door, NotAdmittedError
from proxy.front.transparent import TransparentEntrance
from proxy.model import ANONYMOUS, Agent
from proxy.settings import activated_sockets

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from proxy.front.entrance import Entrance, Services
    from proxy.settings import Listener

_log: Final = logging.getLogger("proxy.front")


class Front:
    """Every place where agents connect."""

    def __init__(self, services: Services) -> None:
        self.services: Final = services
        self._resolver: Final = StubResolver()
        self._doors: Final[list[Door]] = []
        self._servers: Final[list[tuple[asyncio.Server, Listening]]] = []
        self._open = 0
        self._per_agent: Final[Counter[str]] = Counter()
        self._tasks: Final[set[asyncio.Task[None]]] = set()

    async def start(self, listener: Listener) -> Listening:
        """Listen there too; returns the first of its sockets. Raises `BriefcaseError` when the address is taken."""
        place = Place(listener, self._entrance(listener), Door(listener.tls) if listener.tls is not None else None)
        if place.door is not None:
            self._doors.append(place.door)
        opened = open_sockets(listener.at, uids=listener.uids, activated=activated_sockets())
        for one in opened:
            server = await asyncio.start_server(
                partial(self._connected, place),
                sock=one.socket,
                limit=self.services.limits.max_header_bytes,
                backlog=BACKLOG,
            )
            self._servers.append((server, one))
        return opened[0]

    async def resolve(self, at: str) -> Listening:
        """Answer the names that redirected clients ask for, at HOST:PORT. Raises `BriefcaseError` when it is taken."""
        (opened, *others) = open_sockets(at, uids=(), activated={})
        for other in others:
            other.close()
        await self._resolver.start(opened)
        return opened

    def _entrance(self, listener: Listener) -> Entrance:
        match listener.kind:
            case "proxy":
                return ProxyEntrance(self.services)
            case "base_url":
                return BaseUrlEntrance(self.services)
            case "transparent":
                name_of = self._resolver.names.name_of
                return TransparentEntrance(self.services, proxy_protocol=listener.proxy_protocol, name_of=name_of)

    async def watch(self) -> None:
        """Read certificates and trust bundles again when they change."""
        while True:
            await asyncio.sleep(LOOK_S)
            for door in self._doors:
                await door.refresh()

    @property
    def listening(self) -> bool:
        """Whether new connections are accepted, everywhere."""
        return bool(self._servers) and all(server.is_serving() for server, _ in self._servers)

    @property
    def addresses(self) -> frozenset[tuple[str, int]]:
        """Host and port of every TCP listener that is open."""
        found = (one.address for server, one in self._servers if server.is_serving())
        return frozenset(address for address in found if address is not None)

    @property
    def connections(self) -> int:
        """Connections open now."""
        return self._open

    def stop_accepting(self) -> None:
        """Close the listeners; connections go on."""
        for server, one in self._servers:
            server.close()
            one.close()

    async def close(self) -> None:
        """Close the listeners and end what is not with a lane yet."""
        self.stop_accepting()
        await self._resolver.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _connected(
        self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Coroutine[None, None, None]:
        if place.door is not None:  # nothing of the handshake may be read before it is made
            cast("asyncio.ReadTransport", writer.transport).pause_reading()
        return self._accept(place, reader, writer)

    async def _accept(self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open += 1
        try:
            raw = writer.get_extra_info("socket")
            if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._serve(place, reader, writer)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            _log.debug("an agent's connection ended early")
        except asyncio.CancelledError:
            _log.debug("a connection was ended by the drain")
        finally:
            self._open -= 1
            self._tasks.discard(task)
            if not writer.transport.is_closing():
                writer.close()

    async def _serve(self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener, entrance = place.listener, place.entrance
        speaks_http = listener.kind != "transparent"
        if self._open > self.services.limits.max_connections:
            if speaks_http and place.door is None:
                await answer(reader, writer, _busy("Too many connections."))
            return
        nobody = Tunnel(ANONYMOUS, None, capture=entrance.capture)
        with contextlib.ExitStack() as held:
            try:
                bound = await owner_of(place, writer, held, self.services)
            except NotAdmittedError:
                await self.services.pipeline.refuse_connection(nobody, NO_SVID)
                return
            if isinstance(bound, Denial):
                refused = await self.services.pipeline.refuse_connection(nobody, bound)
                if speaks_http:
                    await answer(reader, writer, refused)
                return
            await self._lead(place, reader, writer, bound)

    async def _lead(
        self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bound: Agent | None
    ) -> None:
        """Through the entrance, as one of an agent's connections."""
        entrance = place.entrance
        if bound is None:
            await entrance.serve(reader, writer, None, self._admitted)
            return
        with self._admitted(bound) as busy:  # before its first byte: silence keeps others out too
            if busy is None:
                await entrance.serve(reader, writer, bound, _counted)
            elif place.listener.kind != "transparent":
                await self._turn_away(reader, writer, busy)

    async def _turn_away(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, busy: Denial) -> None:
        """Answer a connection that counts no more: one agent's surplus must not use up what is for all."""
        self._open -= 1
        try:
            await answer(reader, writer, busy)
        finally:
            self._open += 1

    @contextlib.contextmanager
    def _admitted(self, agent: Agent) -> Iterator[Denial | None]:
        """See `Admission`."""
        if self._per_agent[agent.name] >= self.services.limits.max_connections_per_agent:
            yield _busy("This agent has too many connections.")
            return
        self._per_agent[agent.name] += 1
        try:
            yield None
        finally:
            self._per_agent[agent.name] -= 1
            if not self._per_agent[agent.name]:
                del self._per_agent[agent.name]


def _counted(agent: Agent) -> contextlib.AbstractContextManager[Denial | None]:  # noqa: ARG001
    """An `Admission` of a connection that is counted already."""
    return contextlib.nullcontext()


def _busy(detail: str) -> Denial:
    return Denial("overloaded", detail, by="front", retry_after_s=1)
