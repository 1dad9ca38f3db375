"""What every way in has in common: the services it uses, and how a tunnel is entered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from proxy.errors import Denial
from proxy.front.answer import alert, answer
from proxy.front.hello import server_name
from proxy.front.passthrough import pass_through

if TYPE_CHECKING:
    import asyncio
    import contextlib

    from proxy.egress.dial import Dialler
    from proxy.exchange import Capture, Tunnel
    from proxy.identity.connections import ConnectionAuthenticator
    from proxy.model import Agent
    from proxy.pipeline import Pipeline
    from proxy.settings import Limits


class Lane(Protocol):
    """What takes a connection over once the front knows whose it is."""

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tunnel: Tunnel, prefix: bytes
    ) -> None:
        """Serve the connection until it ends; `prefix` was read from it already."""
        ...


class Admission(Protocol):
    """Counts an agent's connections; the front has it, because it sees those of every listener."""

    def __call__(self, agent: Agent) -> contextlib.AbstractContextManager[Denial | None]:
        """Within the context the connection counts; a denial where the agent has too many."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """What an entrance works with."""

    pipeline: Pipeline
    authenticator: ConnectionAuthenticator
    lane: Lane
    dialler: Dialler
    limits: Limits


class Entrance(Protocol):
    """One kind of listener: what the first bytes of its connections are.

    Attributes:
        capture: of a connection of which no more is known.
    """

    capture: Capture

    async def serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        bound: Agent | None,
        admitted: Admission,
    ) -> None:
        """Serve one connection to its end. `bound` is whose it is, where the listener says so."""
        ...


async def refuse(
    services: Services, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tunnel: Tunnel, denial: Denial
) -> None:
    """Refuse before there is a request: receipt, problem document, end."""
    await answer(reader, writer, await services.pipeline.refuse_connection(tunnel, denial))


async def enter_tls(
    services: Services, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tunnel: Tunnel, hello: bytes
) -> None:
    """Serve a tunnel that may exist, from its ClientHello on: by the lane, or unread where its host is named so."""
    if not tunnel.sealed:
        await services.lane.serve(reader, writer, tunnel, hello)
        return
    judged = await services.pipeline.on_sealed(tunnel, server_name(hello))
    if isinstance(judged, Denial):
        await alert(reader, writer)
        return
    await pass_through(reader, writer, judged, services, prefix=hello)
