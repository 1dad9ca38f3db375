"""Every way out that the check tries, and what came of trying it. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(StrEnum):
    """What an attempt shows about its way."""

    CLOSED = "closed"
    OPEN = "open"
    UNKNOWN = "unknown"


class Seen(StrEnum):
    """What was seen; docs/confinement-check.md has a row for each."""

    CONNECTED = "connected"
    ANSWERED = "answered"
    REFUSED_BY_PEER = "refused_by_peer"
    CAPTURED = "captured"
    REJECTED = "rejected"
    UNREACHABLE_OUTSIDE = "unreachable_outside"
    NO_ROUTE = "no_route"
    NOT_PERMITTED = "not_permitted"
    TIMEOUT = "timeout"
    SILENCE = "silence"
    REFUSED_BY_PROXY = "refused_by_proxy"
    NO_PROXY = "no_proxy"
    NO_TOKEN = "no_token"  # noqa: S105  # a slug
    ABSENT = "absent"
    NOBODY_LISTENS = "nobody_listens"
    READABLE = "readable"
    HELD = "held"
    NOT_HELD = "not_held"
    HARMLESS = "harmless"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt.

    Attributes:
        way: a key of `WAYS`.
        target: what was tried: `1.1.1.1:443`, a path, a process id; never a value that was read.
    """

    way: str
    target: str
    state: State
    seen: Seen


WAYS: Final[Mapping[str, str]] = {
    "tcp": "TCP to an address outside",
    "tcp6": "TCP to an IPv6 address outside",
    "dns_udp": "UDP to a resolver outside",
    "dns_tcp": "TCP to a resolver outside",
    "dns_resolver": "the machine's own resolver answers for names outside",
    "quic": "UDP to port 443",
    "icmp": "ICMP echo to an address outside",
    "ignores_proxy": "a client that ignores the proxy variables",
    "no_proxy": "a host that NO_PROXY names",
    "metadata": "the cloud's metadata service",
    "connect_address": "an address outside, through the sidecar",
    "connect_local": "a local address, through the sidecar",
    "connect_metadata": "the metadata service, through the sidecar",
    "control_listener": "the sidecar's control listener",
    "control_socket": "a unix socket of the sidecar",
    "container_engine": "the socket of a container engine",
    "ssh_agent": "the socket of an ssh or GPG agent",
    "dbus": "the socket of a message bus or of the init system",
    "abstract_socket": "an abstract unix socket",
    "state_directory": "the sidecar's state directory",
    "database": "the sidecar's database",
    "ca_key": "the interception CA's keys",
    "secret_files": "the sidecar's files with secrets",
    "process_environment": "the sidecar's environment",
    "process_memory": "the sidecar's memory",
    "process_files": "the sidecar's root directory and descriptors",
    "process_trace": "tracing the sidecar",
    "net_admin": "CAP_NET_ADMIN over a network that leads out",
    "packet_socket": "packet sockets, which pass rules by, on a network that leads out",
    "other_namespace": "joining the network namespace of another process",
    "user_namespace": "a user namespace of its own (not a way out in itself)",
}
THROUGH_THE_SIDECAR: Final = frozenset({"connect_address", "connect_local", "connect_metadata"})
"""What the sidecar itself refuses: unknown is good enough where it was not running yet."""


@dataclass(frozen=True, slots=True)
class Target:
    """An address and a port. `known`: it answers there, so that silence means that nothing gets through."""

    address: str
    port: int
    known: bool = False

    @property
    def version(self) -> int:
        """4 or 6."""
        return ipaddress.ip_address(self.address).version

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.version == 6 else f"{self.address}:{self.port}"  # noqa: PLR2004


def parse_target(text: str) -> Target:
    """`HOST:PORT` with an address for a host, `[…]` around IPv6. Whoever names a target says that it answers.

    Raises:
        ValueError: not an address and a port.
    """
    host, _, port = text.rpartition(":")
    address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):  # noqa: PLR2004
        raise ValueError("not a port")
    return Target(str(address), int(port), known=True)


def state_of(way: str, attempts: tuple[Attempt, ...]) -> State:
    """A way is open when one attempt got out, closed when one shows that nothing does, and else unknown."""
    states = {attempt.state for attempt in attempts if attempt.way == way}
    if State.OPEN in states:
        return State.OPEN
    return State.CLOSED if State.CLOSED in states else State.UNKNOWN
