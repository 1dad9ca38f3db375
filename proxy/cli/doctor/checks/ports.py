"""Whether the configured listeners can be had, and who has them."""

from __future__ import annotations

import contextlib
import errno
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.catalog.listening import SPECIAL
from proxy.cli.doctor.report import Finding, Level
from proxy.cli.state import read_state
from proxy.errors import BriefcaseError
from proxy.settings import Listeners

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.cli.doctor.checks.situation import Situation

CHECK: Final = "listeners"
LISTENING: Final = "0A"
TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")


def ports(situation: Situation) -> Iterator[Finding]:
    """The TCP listeners of the configuration, else the usual ones; a socket of another kind is made or handed to us."""
    loaded = situation.configuration
    listeners = loaded.settings.listeners if loaded is not None else Listeners()
    ours = _ours(situation.home)
    named = {"proxy": listeners.proxy, "control": listeners.control}
    named |= {f"more[{index}].at": listener.at for index, listener in enumerate(listeners.more)}
    for name, listen in named.items():
        if listen.startswith(SPECIAL):
            continue
        host, _, port = listen.rpartition(":")
        problem = taken(host.strip("[]"), int(port))
        if problem is None:
            yield Finding(CHECK, Level.OK, f"{name}: {listen} is free")
        elif listen in ours:
            yield Finding(CHECK, Level.OK, f"{name}: {listen} is the running sidecar's")
        else:
            level = Level.WARNING if loaded is None else Level.PROBLEM
            holder = holder_of(int(port)) or "another program"
            remedy = f"End that program, or give listeners.{name} another port."
            yield Finding(CHECK, level, f"{name}: {listen}: {problem}; it is held by {holder}", remedy)


def _ours(home: Path) -> tuple[str, ...]:
    try:
        running = read_state(home)
    except BriefcaseError:
        return ()
    return (running.proxy, running.control, *running.more)


def taken(host: str, port: int) -> str | None:
    """What the system says to a listener there; None where it would be given."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        return "busy" if error.errno == errno.EADDRINUSE else (error.strerror or "cannot be bound")
    return None


def holder_of(port: int) -> str | None:
    """The program that listens at `port`, as `name (process N)`, where this account may see it. Linux."""
    inodes = {inode for table in TABLES for inode in _listening(Path(table), port)}
    for entry in Path("/proc").glob("[0-9]*/fd/*") if inodes else ():
        with contextlib.suppress(OSError):
            if str(entry.readlink()).removeprefix("socket:[").removesuffix("]") in inodes:
                process = entry.parent.parent
                return f"{(process / 'comm').read_text('utf-8', 'replace').strip()} (process {process.name})"
    return None


def _listening(table: Path, port: int) -> Iterator[str]:
    """Inodes of listening sockets at `port`: columns 2 (address), 4 (state) and 10 of proc_net_tcp(5)."""
    with contextlib.suppress(OSError):
        for line in table.read_text("ascii").splitlines()[1:]:
            columns = line.split()
            if columns[3] == LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                yield columns[9]
