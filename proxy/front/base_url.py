"""Base-URL mode: plain requests below our own address, for SDKs that take a base URL. Every head is judged alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.caller import identify
from proxy.errors import Denial
from proxy.exchange import Capture, Tunnel
from proxy.front.entrance import Admission, Services, refuse
from proxy.front.first import read_head
from proxy.front.grammar import raw_head
from proxy.front.peers import lineage
from proxy.front.sockets import source
from proxy.model import ANONYMOUS, Agent

if TYPE_CHECKING:
    import asyncio


class BaseUrlEntrance:
    """See the module."""

    capture = Capture.BASE_URL

    def __init__(self, services: Services) -> None:
        self._services: Final = services

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bound: Agent | None, admitted: Admission
    ) -> None:
        """Hand over what begins with a head. See `Entrance`."""
        services = self._services
        tunnel = Tunnel(
            bound or ANONYMOUS,
            None,
            capture=self.capture,
            bound=bound is not None,
            source=source(writer),
            lineage=lineage(writer) if bound is None else (),
        )
        head = await read_head(reader, services.limits)
        if head is None:
            return
        if isinstance(head, Denial):
            await refuse(services, reader, writer, tunnel, head)
            return
        # The connection counts as that of its first head, or one agent's many would keep all others out.
        raw = raw_head(head)
        stand_ins = services.pipeline.generation.stand_ins
        found = None if raw is None else identify(services.authenticator, stand_ins, tunnel, raw)
        asking = found or tunnel.agent
        with admitted(asking) as busy:
            if busy is not None:
                await refuse(services, reader, writer, replace(tunnel, agent=asking), busy)
            else:
                await services.lane.serve(reader, writer, tunnel, head)
