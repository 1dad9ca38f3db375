"""Rights that would undo the confinement: over the network, its rules, and other namespaces.

Source: capabilities(7); user_namespaces(7); ioctl_nsfs(2).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.confine.probe.ways import Attempt, Seen, State

if TYPE_CHECKING:
    from collections.abc import Iterator

CAP_NET_ADMIN: Final = 12
NS_GET_USERNS: Final = 0xB701
JOINED: Final = (State.OPEN, Seen.HELD)
NOT_JOINED: Final = (State.CLOSED, Seen.NOT_PERMITTED)
JOIN: Final = """
import ctypes, os, sys
sys.exit(0 if ctypes.CDLL(None).setns(os.open(sys.argv[1], 0), 0x40000000) == 0 else 3)
"""
OWN_USER: Final = "import ctypes, sys; sys.exit(0 if ctypes.CDLL(None).unshare(0x10000000) == 0 else 3)"
LEADS_NOWHERE: Final = frozenset(
    {"lo", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"}
)
"""Loopback, and what tunnel modules put into every network namespace."""


def rights_attempts() -> Iterator[Attempt]:
    """What this process may do, without doing any of it to the network that it is in."""
    outward = leads_out()
    yield _right("net_admin", "CAP_NET_ADMIN", held=_holds_net_admin(), outward=outward)
    yield _right("packet_socket", "AF_PACKET", held=_opens_packet_socket(), outward=outward)
    yield from _other_namespaces()
    made = _tried(OWN_USER)
    yield Attempt("user_namespace", "unshare", State.CLOSED, Seen.HARMLESS if made else Seen.NOT_PERMITTED)


def leads_out() -> bool:
    """Whether there is an interface that is more than loopback or one that every namespace has, up or not."""
    return any(name not in LEADS_NOWHERE for _, name in socket.if_nameindex())


def _right(way: str, target: str, *, held: bool, outward: bool) -> Attempt:
    if not held:
        return Attempt(way, target, State.CLOSED, Seen.NOT_HELD)
    return Attempt(way, target, State.OPEN if outward else State.CLOSED, Seen.HELD if outward else Seen.HARMLESS)


def _holds_net_admin() -> bool:
    """The capability, in a user namespace that owns our network namespace: over any other it says nothing."""
    return bool(_effective() >> CAP_NET_ADMIN & 1) and _owns_network()


def _effective() -> int:
    for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _owns_network() -> bool:
    """Whether the owner of our network namespace is our user namespace or below it; the kernel tells no other."""
    network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.close(fcntl.ioctl(network, NS_GET_USERNS))
    except OSError:
        return False
    finally:
        os.close(network)
    return True


def _opens_packet_socket() -> bool:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()
    except OSError:
        return False
    return True


def _other_namespaces() -> Iterator[Attempt]:
    """One attempt for each network namespace of a process that can be seen, at most eight."""
    known = {Path("/proc/self/ns/net").stat().st_ino}
    tried = False
    for entry in sorted(Path("/proc").iterdir()):
        if not entry.name.isdigit() or len(known) > 8:  # noqa: PLR2004
            continue
        with contextlib.suppress(OSError):
            path = entry / "ns" / "net"
            if (number := path.stat().st_ino) not in known:
                known.add(number)
                tried = True
                joined = _tried(JOIN, str(path))
                yield Attempt("other_namespace", str(path), *(JOINED if joined else NOT_JOINED))
    if not tried:
        yield Attempt("other_namespace", "none", State.CLOSED, Seen.ABSENT)


def _tried(program: str, *arguments: str) -> bool:
    """Whether a child of its own could do it."""
    command = [sys.executable, "-I", "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0  # noqa: S603
