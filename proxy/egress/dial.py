"""Dial what was decided: resolve, vet every answer, connect to a vetted address, one after the other."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, Final

from proxy.egress.addresses import permitted
from proxy.errors import Denial, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.egress.addresses import Address
    from proxy.egress.resolver import Resolver
    from proxy.exchange import Dial

MAX_ATTEMPTS: Final = 4
READ_LIMIT_BYTES: Final = 64 * 1024


class Dialler:
    """Opens TCP connections to vetted addresses.

    `own_listeners` tells the addresses that this process listens on: they are never dialled, whatever is allowed.
    """

    def __init__(
        self, *, resolver: Resolver, connect_timeout_s: float, own_listeners: Callable[[], frozenset[tuple[str, int]]]
    ) -> None:
        self._resolver: Final = resolver
        self._timeout_s: Final = connect_timeout_s
        self._own: Final = own_listeners

    async def vetted(self, dial: Dial) -> tuple[Address, ...]:
        """The addresses that may be dialled. One forbidden answer refuses all: a name has one owner.

        Raises:
            Refused: `destination_forbidden_address` or `upstream_unreachable`.
        """
        addresses = await self._resolver.resolve(dial.authority.host)
        own = self._own()
        for address in addresses:
            hairpin = any(port == dial.authority.port and _reaches(address, host) for host, port in own)
            if hairpin or not permitted(address, dial.allow_private):
                raise Refused(
                    Denial("destination_forbidden_address", "The name resolves to a forbidden address.", by="egress")
                )
        return addresses

    async def connect(self, dial: Dial) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        """A connection to one of the vetted addresses, and which.

        Raises:
            Refused: `destination_forbidden_address`, `upstream_unreachable` or `upstream_timeout`.
        """
        timed_out = False
        for address in (await self.vetted(dial))[:MAX_ATTEMPTS]:
            try:
                async with asyncio.timeout(self._timeout_s):
                    reader, writer = await asyncio.open_connection(
                        str(address), dial.authority.port, limit=READ_LIMIT_BYTES
                    )
            except TimeoutError:
                timed_out = True
                continue
            except OSError:
                continue
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return reader, writer, str(address)
        slug = "upstream_timeout" if timed_out else "upstream_unreachable"
        raise Refused(Denial(slug, "No connection to the provider could be made.", by="egress"))


def _reaches(address: Address, listener: str) -> bool:
    """Whether a connection to `address` would end at a listener bound to `listener`."""
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    target = inner or address
    try:
        bound = ipaddress.ip_address(listener)
    except ValueError:  # bound by name, so perhaps to any of this machine's addresses
        return target.is_loopback or _is_ours(target)
    return target.is_loopback or _is_ours(target) if bound.is_unspecified else target == bound


def _is_ours(address: Address) -> bool:
    """Whether `address` belongs to this machine: only then can a socket be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
