"""A proxy's connections: CONNECT, or requests in absolute form."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.caller import not_now
from proxy.errors import Denial
from proxy.exchange import Capture, Tunnel
from proxy.front.answer import TUNNEL_OPEN, answer
from proxy.front.entrance import Admission, Services, enter_tls, refuse
from proxy.front.first import read_head, read_hello
from proxy.front.grammar import Connect, first_head
from proxy.front.passthrough import pass_through
from proxy.front.peers import lineage
from proxy.front.sockets import source
from proxy.identity.svid import SvidProof
from proxy.model import ANONYMOUS, Agent

if TYPE_CHECKING:
    import asyncio

_log: Final = logging.getLogger("proxy.front")
MAX_CHALLENGES: Final = 3
FAILED: Final = Denial("policy_unavailable", "A part of the proxy failed while it decided.", by="front")
NOT_TLS: Final = Denial("malformed_request", "Only TLS is spoken inside a tunnel.", by="front")


class ProxyEntrance:
    """See the module."""

    capture = Capture.ABSOLUTE

    def __init__(self, services: Services) -> None:
        self._services: Final = services

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bound: Agent | None, admitted: Admission
    ) -> None:
        """Authenticate, then tunnel or hand over. See `Entrance`."""
        services, unknown = self._services, Tunnel(ANONYMOUS, None, capture=self.capture, source=source(writer))
        unknown = replace(unknown, lineage=lineage(writer) if bound is None else ())
        for _ in range(MAX_CHALLENGES):
            head = await read_head(reader, services.limits)
            if head is None:
                return
            first = head if isinstance(head, Denial) else first_head(head)
            if isinstance(first, Denial):
                await refuse(services, reader, writer, unknown, first)
                return
            assert isinstance(head, bytes)
            connect = isinstance(first, Connect)
            asked = unknown
            if isinstance(first, Connect):
                asked = replace(unknown, authority=first.authority, capture=Capture.CONNECT)
            agent = await self._identified(bound, first.proxy_authorization, unknown)
            if isinstance(agent, Agent):
                tunnel = replace(asked, agent=agent, bound=bound is not None)
                with admitted(agent) as busy:
                    if busy is not None:
                        await refuse(services, reader, writer, tunnel, busy)
                    elif connect:
                        await self._open(reader, writer, tunnel)
                    else:
                        await services.lane.serve(reader, writer, tunnel, head)
                return
            # A first request without credentials is how git and Java ask for the challenge: not yet an attempt.
            if first.proxy_authorization is not None or not connect:
                await refuse(services, reader, writer, asked, agent)
                return
            await answer(reader, writer, agent, keep_alive=True)

    async def _agent(self, bound: Agent | None, token: str | None, asked: Tunnel) -> Agent | Denial:
        """Who asks: the connection says it, or a token, or a token of the agent whose SVID it is."""
        authenticator = self._services.authenticator
        if bound is not None and (token is None or not isinstance(bound.proof, SvidProof)):
            return bound
        await authenticator.prepare(token)
        if bound is not None and token is not None:
            return authenticator.narrowed(bound, token, asked.source) or not_now()
        return authenticator.authenticate(token, asked.source, asked.lineage)

    async def _open(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: Tunnel) -> None:
        services = self._services
        tunnel = await self._connected(asked)
        if isinstance(tunnel, Denial):
            await answer(reader, writer, tunnel)
            return
        if tunnel.unread is not None:
            await pass_through(reader, writer, tunnel, services, announced=True)
            return
        writer.write(TUNNEL_OPEN)
        hello = await read_hello(reader, services.limits)
        if hello is None:
            await services.pipeline.refuse_connection(tunnel, NOT_TLS)
            return
        await enter_tls(services, reader, writer, tunnel, hello)

    async def _identified(self, bound: Agent | None, token: str | None, asked: Tunnel) -> Agent | Denial:
        """As `_agent`; a failure says nobody (I-01)."""
        try:
            return await self._agent(bound, token, asked)
        except Exception as error:  # noqa: BLE001  # the guard: whatever failed, refuse
            _log.error("telling whose a token is failed: %s", type(error).__name__)
            return FAILED

    async def _connected(self, asked: Tunnel) -> Tunnel | Denial:
        """What `on_connect` says; a failure is a refusal, on record."""
        pipeline = self._services.pipeline
        try:
            return await pipeline.on_connect(asked)
        except Exception as error:  # noqa: BLE001  # the guard: whatever failed, refuse
            _log.error("deciding about a tunnel failed: %s", type(error).__name__)
            return await pipeline.refuse_connection(asked, FAILED)
