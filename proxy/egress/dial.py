"""Dial what was decided: resolve, vet every answer, connect to a vetted address, or have an upstream proxy connect."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from typing import TYPE_CHECKING, Final, NoReturn

from proxy.egress.addresses import permitted
from proxy.egress.handshake import Login, http_connect, socks5_connect
from proxy.egress.trust import TrustedContexts
from proxy.egress.upstream import may_be_asked_for
from proxy.errors import BriefcaseError, Denial, Refused

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from proxy.egress.addresses import Address
    from proxy.egress.resolver import Resolver
    from proxy.exchange import Dial
    from proxy.model import Authority, UpstreamProxy
    from proxy.secret import Secret

_log: Final = logging.getLogger("proxy.egress")
MAX_ATTEMPTS: Final = 4
READ_LIMIT_BYTES: Final = 64 * 1024
NAMED_BY_THE_OPERATOR: Final = ("0.0.0.0/0", "::/0")
"""Private and loopback addresses too, for what the operator's own settings name; metadata and reserved ones never."""
type Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter, str]
type ReadSecret = Callable[[str], Awaitable[Secret]]
"""The secret of a ref; raises `BriefcaseError`."""


async def _no_secrets(_ref: str) -> NoReturn:
    raise BriefcaseError("there are no secret stores here")


class Dialler:
    """The one way out: every connection of a lane, of an unread tunnel and of our own calls is opened here.

    `own_listeners` tells the addresses that this process listens on: they are never dialled, whatever is allowed.
    `read_secret` gives the credentials for upstream proxies.
    """

    def __init__(
        self,
        *,
        resolver: Resolver,
        connect_timeout_s: float,
        own_listeners: Callable[[], frozenset[tuple[str, int]]],
        read_secret: ReadSecret = _no_secrets,
    ) -> None:
        self._resolver: Final = resolver
        self._timeout_s: Final = connect_timeout_s
        self._own: Final = own_listeners
        self._read_secret: Final = read_secret
        self._trust: Final = TrustedContexts()

    async def vetted(self, dial: Dial) -> tuple[Address, ...]:
        """The addresses that may be dialled. One forbidden answer refuses all: a name has one owner.

        Raises:
            Refused: `destination_forbidden_address` or `upstream_unreachable`.
        """
        return await self._vetted(dial.authority, dial.allow_private, dial.agent)

    async def connect(self, dial: Dial) -> Connection:
        """A connection that ends at the decided authority, and the address that was dialled: with `via`, the proxy's.

        Raises:
            Refused: `destination_forbidden_address`, `upstream_unreachable`, `upstream_timeout`, `upstream_proxy_auth`,
                `upstream_proxy_refused` or `upstream_proxy_unavailable`.
        """
        if dial.via is not None:
            return await self._through(dial.via, dial.authority)
        return await self._reach(await self.vetted(dial), dial.authority.port)

    async def _vetted(self, authority: Authority, allow_private: tuple[str, ...], agent: str) -> tuple[Address, ...]:
        addresses = await self._resolver.resolve(authority.host, agent)
        own = self._own()
        for address in addresses:
            hairpin = any(port == authority.port and _reaches(address, host) for host, port in own)
            if hairpin or not permitted(address, allow_private):
                raise Refused(
                    Denial("destination_forbidden_address", "The name resolves to a forbidden address.", by="egress")
                )
        return addresses

    async def _reach(
        self, addresses: tuple[Address, ...], port: int, *, tls: ssl.SSLContext | None = None, name: str | None = None
    ) -> Connection:
        timed_out = False
        for address in addresses[:MAX_ATTEMPTS]:
            try:
                async with asyncio.timeout(self._timeout_s):
                    reader, writer = await asyncio.open_connection(
                        str(address), port, limit=READ_LIMIT_BYTES, ssl=tls, server_hostname=name
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

    async def _through(self, via: UpstreamProxy, target: Authority) -> Connection:
        """Ask `via` for the connection. It resolves, so all we can refuse is a literal or a local name."""
        if not may_be_asked_for(target.host):
            raise Refused(
                Denial("destination_forbidden_address", "The upstream proxy is not asked for such a name.", by="egress")
            )
        try:
            return await self._asked(via, target)
        except Refused as refused:
            _log.warning("upstream proxy %s: %s", via.authority, refused.denial.detail)
            raise

    async def _asked(self, via: UpstreamProxy, target: Authority) -> Connection:
        login = await self._login(via)
        try:
            addresses = await self._vetted(via.authority, NAMED_BY_THE_OPERATOR, "-")
            tls = self._trust.context(via.trust) if via.scheme == "https" else None
            reader, writer, address = await self._reach(
                addresses, via.authority.port, tls=tls, name=via.authority.host if tls is not None else None
            )
        except (Refused, OSError):
            raise Refused(_unavailable("No connection to the upstream proxy could be made.")) from None
        ask = socks5_connect if via.scheme == "socks5" else http_connect
        try:
            async with asyncio.timeout(via.timeout_s):
                await ask(reader, writer, target, login)
        except BaseException as error:
            writer.transport.abort()
            if isinstance(error, OSError):  # TimeoutError is one
                raise Refused(_unavailable("The upstream proxy did not answer.")) from None
            raise
        return reader, writer, address

    async def _login(self, via: UpstreamProxy) -> Login | None:
        if via.username is None:
            return None
        try:
            username = await self._read_secret(via.username)
            password = None if via.password is None else await self._read_secret(via.password)
        except BriefcaseError as error:
            _log.warning("upstream proxy %s: %s", via.authority, error)
            raise Refused(_cannot_log_in()) from None
        login = Login(username, password)
        if not login.fits():
            raise Refused(_cannot_log_in())
        return login


def _unavailable(detail: str) -> Denial:
    return Denial("upstream_proxy_unavailable", detail, by="egress")


def _cannot_log_in() -> Denial:
    return Denial("upstream_proxy_auth", "The credentials for the upstream proxy cannot be used.", by="egress")


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
