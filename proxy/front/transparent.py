"""Redirected connections of clients that know of no proxy: the name in the ClientHello or in Host decides.

The address that the agent dialled is never used, only its port: an agent may resolve a name to whatever it likes, so we
resolve it again ourselves.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.canonical import proxy_protocol
from proxy.confine.redirected import dialled
from proxy.errors import Denial
from proxy.exchange import Capture, Tunnel
from proxy.front.answer import alert
from proxy.front.entrance import Admission, Services, enter_tls, refuse
from proxy.front.first import read_head, read_hello
from proxy.front.hello import HANDSHAKE, server_name
from proxy.front.passthrough import pass_through
from proxy.model import ANONYMOUS, Agent, Authority

if TYPE_CHECKING:
    from collections.abc import Callable

METHOD_LETTERS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
NO_DESTINATION: Final = Denial("malformed_request", "The connection was not redirected here.", by="front")
NO_NAME: Final = Denial("destination_not_allowed", "The ClientHello names no host; an address is none.", by="front")
NAMES_DIFFER: Final = Denial("authority_mismatch", "Host or TLS server name is not what was asked for.", by="front")
NEITHER: Final = Denial("malformed_request", "Only TLS and HTTP/1.1 are carried.", by="front")


class TransparentEntrance:
    """See the module.

    Args:
        proxy_protocol: a forwarder says where each connection wanted to go, else the kernel does.
        name_of: the name that the stub resolver has given an address out for.
    """

    capture = Capture.TRANSPARENT

    def __init__(self, services: Services, *, proxy_protocol: bool, name_of: Callable[[str], str | None]) -> None:
        self._services: Final = services
        self._proxy_protocol: Final = proxy_protocol
        self._name_of: Final = name_of

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bound: Agent | None, admitted: Admission
    ) -> None:
        """Find out where the connection wants to go, then serve it. See `Entrance`."""
        tunnel = Tunnel(bound or ANONYMOUS, None, capture=self.capture, bound=bound is not None)
        destination = await self._destination(reader, writer)
        if destination is None:
            await self._services.pipeline.refuse_connection(tunnel, NO_DESTINATION)
            return
        port, name = destination
        async with asyncio.timeout(self._services.limits.header_timeout_s):
            begun = await reader.read(1)
        if not begun:
            return
        with admitted(tunnel.agent) as busy:
            if busy is not None:
                await self._services.pipeline.refuse_connection(tunnel, busy)
            elif begun[0] == HANDSHAKE:
                await self._tls(reader, writer, tunnel, port, name, begun)
            elif begun[0] in METHOD_LETTERS:
                await self._plain(reader, writer, replace(tunnel, port=port), begun)
            else:
                await self._services.pipeline.refuse_connection(tunnel, NEITHER)

    async def _destination(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[int, str | None] | None:
        """Port, and the host that was asked for where that is known; None when the connection came here by itself."""
        if not self._proxy_protocol:
            found = dialled(writer.get_extra_info("socket"))
            return None if found is None else (found[1], self._name_of(found[0]))
        async with asyncio.timeout(self._services.limits.header_timeout_s):
            try:
                prefix = await reader.readexactly(proxy_protocol.PREFIX_BYTES)
                following = proxy_protocol.following(prefix)
                header = b"" if following is None else prefix + await reader.readexactly(following)
            except asyncio.IncompleteReadError:
                return None
        origin = proxy_protocol.decode(header)
        return None if origin is None else (origin.destination[1], origin.name)

    async def _tls(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        tunnel: Tunnel,
        port: int,
        name: str | None,
        begun: bytes,
    ) -> None:
        services = self._services
        hello = await read_hello(reader, services.limits, begun=begun)
        if hello is None:
            await services.pipeline.refuse_connection(tunnel, NEITHER)
            return
        sni = server_name(hello)
        host = sni or name
        if host is None or (name is not None and host != name):
            asked = tunnel if host is None else replace(tunnel, authority=Authority(host, port))
            await services.pipeline.refuse_connection(asked, NO_NAME if host is None else NAMES_DIFFER)
            await alert(reader, writer)
            return
        opened = await services.pipeline.on_connect(replace(tunnel, authority=Authority(host, port)))
        if isinstance(opened, Denial):
            await alert(reader, writer)
        elif opened.unread is not None:
            await pass_through(reader, writer, opened, services, prefix=hello)
        else:
            await enter_tls(services, reader, writer, opened, hello)

    async def _plain(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tunnel: Tunnel, begun: bytes
    ) -> None:
        """Requests in origin form: each one's Host says where it goes, whatever address was dialled."""
        head = await read_head(reader, self._services.limits)
        if isinstance(head, Denial):
            await refuse(self._services, reader, writer, tunnel, head)
        elif head is not None:
            await self._services.lane.serve(reader, writer, tunnel, begun + head)
