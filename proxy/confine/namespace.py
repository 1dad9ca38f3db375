"""A network of its own for one program: nothing but loopback, and on it the forwarder and the stub resolver.

Three processes: the sidecar's child, which makes the namespaces and then forwards; the first process of the program's
process namespace (`child`); the program. Each ends with the one above it.

Source: namespaces(7), user_namespaces(7), network_namespaces(7).
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.confine import linux, masks, netlink, rules, stub
from proxy.confine.child import FORWARDED, first_process, own_user_namespace, passed_on
from proxy.confine.errors import ConfineError
from proxy.confine.forwarder import Forwarder

if TYPE_CHECKING:
    from proxy.confine.plan import Plan

TCP_PORT: Final = 61_080
DNS_PORT: Final = 61_053
"""Above the ports that Linux gives out by itself (32768 to 60999)."""
ADDRESSES: Final = ("198.18.0.1", "fd62:7269:6566::1")
"""Ours: a network without any but loopback's looks to some resolvers as if there were none."""
BACKLOG: Final = 1024
SWITCHES: Final = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1"),
    ("kernel/unprivileged_userns_clone", "0"),
    ("user/max_user_namespaces", "0"),
    ("user/max_net_namespaces", "0"),
)
"""Under /proc/sys: a value that forbids user namespaces, or what AppArmor lets them do."""


def confine(plan: Plan) -> int:
    """Run the program of `plan` to its end; its exit code, or 128 + N after signal N.

    Must be called where there is one thread only.

    Raises:
        ConfineError: it cannot be confined; nothing was started.
    """
    linux.end_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, nobody can be waited for
    if os.getppid() != plan.parent:
        raise ConfineError("briefcased has ended")
    sockets = masks.sockets(plan.environment)
    try:
        own_user_namespace(os.CLONE_NEWNET | os.CLONE_NEWIPC)
    except OSError as error:
        raise ConfineError(_why(error)) from None
    netlink.bring_up(ADDRESSES)
    rules.install(rules.ruleset(tcp_port=TCP_PORT, dns_port=DNS_PORT))
    listening = [_listener(family, kind, port) for family, kind, port in _places()]
    program = _started(plan, sockets)
    linux.keep_out()
    linux.drop_privileges()
    linux.end_with_parent(signal.SIGKILL)  # a change of rights has undone the first
    return asyncio.run(_serve(plan, program, listening))


def _why(error: OSError) -> str:
    """What most likely stands in the way."""
    reason = f"this system does not let you make namespaces ({error.strerror})"
    for name, forbids in SWITCHES:
        path = Path("/proc/sys") / name
        if path.exists() and path.read_text("ascii").strip() == forbids:
            return f"{reason}: {name.replace('/', '.')} is {forbids}"
    return f"{reason}; in a container use `briefcased redirect` instead"


def _places() -> list[tuple[socket.AddressFamily, socket.SocketKind, int]]:
    families = [socket.AF_INET, socket.AF_INET6] if Path("/proc/sys/net/ipv6").exists() else [socket.AF_INET]
    kinds = ((socket.SOCK_STREAM, TCP_PORT), (socket.SOCK_STREAM, DNS_PORT), (socket.SOCK_DGRAM, DNS_PORT))
    return [(family, kind, port) for family in families for kind, port in kinds]


def _listener(family: socket.AddressFamily, kind: socket.SocketKind, port: int) -> socket.socket:
    made = socket.socket(family, kind)
    made.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))
    if kind == socket.SOCK_STREAM:
        made.listen(BACKLOG)
    made.setblocking(False)
    return made


def _started(plan: Plan, sockets: list[str]) -> int:
    """The first process of a new process namespace."""
    try:
        os.unshare(os.CLONE_NEWPID)
    except OSError as error:
        raise ConfineError(_why(error)) from None
    program = os.fork()
    if program == 0:
        first_process(plan, sockets)
    return program


async def _serve(plan: Plan, program: int, listening: list[socket.socket]) -> int:
    names = stub.Names()
    forwarder = Forwarder(plan.sidecar, names.name_of)
    loop = asyncio.get_running_loop()
    for number in FORWARDED:
        loop.add_signal_handler(number, partial(_forward, program, number))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * BACKLOG)), hard))
    for made in listening:
        if made.type == socket.SOCK_DGRAM:
            await loop.create_datagram_endpoint(partial(stub.Datagrams, names), sock=made)
        elif made.getsockname()[1] == DNS_PORT:
            await asyncio.start_server(partial(stub.serve_stream, names=names), sock=made)
        else:
            await asyncio.start_server(forwarder.serve, sock=made, limit=256 * 1024)
    return await _ended(program)


def _forward(program: int, number: int) -> None:
    if passed_on(number):
        os.kill(program, number)


async def _ended(program: int) -> int:
    over = asyncio.Event()
    descriptor = os.pidfd_open(program)
    asyncio.get_running_loop().add_reader(descriptor, over.set)
    await over.wait()
    _, status = os.waitpid(program, 0)  # noqa: ASYNC222  # it has ended
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
