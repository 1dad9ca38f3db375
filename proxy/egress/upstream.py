"""Which way out: the operator's upstream proxy, or none; and the names it may be asked for. Pure.

Whoever makes the connection resolves the name. Through an upstream proxy that is the proxy (SOCKS too: always by name),
so the addresses cannot be vetted here; what a name itself shows still is.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from proxy.canonical import parse_authority, parse_host
from proxy.model import Authority, UpstreamProxy

if TYPE_CHECKING:
    from proxy.egress.addresses import Network
    from proxy.settings import UpstreamProxyEntry

type Scheme = Literal["http", "https", "socks5"]
SCHEMES: Final[dict[str, Scheme]] = {"http": "http", "https": "https", "socks5": "socks5", "socks5h": "socks5"}
DEFAULT_PORTS: Final[dict[Scheme, int]] = {"http": 80, "https": 443, "socks5": 1080}
LOCAL: Final = frozenset(
    {"corp", "home", "internal", "intranet", "lan", "local", "localdomain", "localhost", "private", "svc"}
)
"""Last labels that mean the machine, the network or the cluster of whoever resolves (RFC 6761, RFC 6762, ICANN)."""
LOCAL_ZONES: Final = (".home.arpa", ".in-addr.arpa", ".ip6.arpa")


def route(entry: UpstreamProxyEntry | Literal["direct"] | None, destination: Authority) -> UpstreamProxy | None:
    """The proxy that `destination` is reached through; None where we connect ourselves.

    Raises:
        ValueError: the entry's URL is not one; a checked configuration has none.
    """
    if entry is None or entry == "direct" or bypassed(entry.no_proxy, destination):
        return None
    scheme, authority = parse_url(entry.url)
    return UpstreamProxy(scheme, authority, entry.username, entry.password, entry.ca_bundle, entry.timeout_s)


@lru_cache(maxsize=64)
def parse_url(url: str) -> tuple[Scheme, Authority]:
    """Scheme and place of `scheme://host[:port]`. `socks5h` is `socks5`: the proxy resolves in any case.

    Raises:
        ValueError: another scheme, credentials, a path, or not a host and port. The text never repeats the URL.
    """
    scheme, mark, rest = url.partition("://")
    known = SCHEMES.get(scheme.lower())
    if not mark or known is None:
        raise ValueError("a URL starts with http://, https:// or socks5://")
    if "@" in rest:
        raise ValueError("credentials never stand in the URL: give secret refs as username and password")
    authority = parse_authority(rest.removesuffix("/").encode("utf-8"), DEFAULT_PORTS[known])
    if authority is None:
        raise ValueError("a URL is SCHEME://HOST:PORT and nothing more, an IPv6 host in brackets")
    return known, authority


class _Rule(NamedTuple):
    """One entry of `no_proxy`. `name` begins with a dot where it covers only what is below; None for an address."""

    name: str | None
    network: Network | None
    port: int | None
    everything: bool = False


@lru_cache(maxsize=1024)
def no_proxy_rule(entry: str) -> _Rule:
    """`*`, `host[:port]` (itself and all below it), `.host` or `*.host` (below it only), an address or CIDR block.

    Raises:
        ValueError: it is none of these.
    """
    text = entry.strip().lower()
    if text == "*":
        return _Rule(None, None, None, everything=True)
    try:
        return _Rule(None, ipaddress.ip_network(text, strict=False), None)
    except ValueError:
        pass
    below = text.startswith((".", "*."))
    authority = parse_authority(text.removeprefix("*.").removeprefix(".").encode("utf-8"), 0)
    if authority is None:
        raise ValueError("an entry is a host, .host, host:port, an address, a CIDR block or *")
    port = authority.port or None
    literal = _literal(authority.host)
    if literal is not None:
        if below:
            raise ValueError("nothing is below an address")
        return _Rule(None, ipaddress.ip_network(literal), port)
    return _Rule(f".{authority.host}" if below else authority.host, None, port)


def bypassed(no_proxy: tuple[str, ...], destination: Authority) -> bool:
    """Whether an entry of `no_proxy` covers `destination`. Names are compared, never resolved."""
    literal = _literal(destination.host)
    for rule in map(no_proxy_rule, no_proxy):
        if rule.everything:
            return True
        if rule.port is not None and rule.port != destination.port:
            continue
        if rule.network is not None:
            if literal is not None and literal.version == rule.network.version and literal in rule.network:
                return True
        elif rule.name is not None and literal is None:
            below = rule.name if rule.name.startswith(".") else f".{rule.name}"
            if destination.host == rule.name or destination.host.endswith(below):
                return True
    return False


def may_be_asked_for(host: str) -> bool:
    """Whether a proxy may be asked to connect to `host`: a public-looking name, never an address or a local name.

    What a local name or a private address means depends on where it is resolved; it belongs into `no_proxy`, where the
    addresses are vetted.
    """
    if parse_host(host.encode("utf-8")) != host or _literal(host) is not None or "." not in host:
        return False
    return host.rpartition(".")[2] not in LOCAL and not host.endswith(LOCAL_ZONES) and host != "home.arpa"


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
