"""Ways out over this machine: unix sockets, and files that belong to the sidecar."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.confine.probe.ways import Attempt, Seen, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from proxy.confine.probe.plan import Plan

ENGINES: Final = (
    "/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock", "/run/crio/crio.sock", "/run/podman/podman.sock",
    "/run/buildkit/buildkitd.sock", "/var/run/cri-dockerd.sock", "/run/user/{uid}/docker.sock",
    "/run/user/{uid}/podman/podman.sock",
)  # fmt: skip
BUSES: Final = (
    "/run/dbus/system_bus_socket", "/run/user/{uid}/bus", "/run/systemd/private", "/run/user/{uid}/systemd/private",
    "/run/systemd/resolve/io.systemd.Resolve", "/run/snapd.socket", "/run/libvirt/libvirt-sock", "/run/nscd/socket",
)  # fmt: skip
AGENTS: Final = ("/run/user/{uid}/gnupg/S.gpg-agent", "/run/user/{uid}/keyring/ssh", "/run/user/{uid}/openssh_agent")
LISTENING: Final = "00010000"
MOST_NAMES: Final = 32
DATABASES: Final = ("briefcased.db", "briefcased.db-wal")
CA_FILES: Final = ("ca/roots.json", "ca/passphrase")
SECRET_FILES: Final = ("secrets.json", "secrets.key", "stand-ins.key", "sidecar.json")


def socket_attempts(plan: Plan) -> Iterator[Attempt]:
    """Every well-known socket, those that variables name, those in the state directory, and all abstract ones."""
    variables = plan.environment
    yield from _group("container_engine", [*ENGINES, *_unix_of(variables, "DOCKER_HOST", "CONTAINER_HOST")])
    yield from _group("ssh_agent", [*AGENTS, *_named(variables, "SSH_AUTH_SOCK")])
    yield from _group("dbus", [*BUSES, *_unix_of(variables, "DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS")])
    yield from _group("control_socket", [str(path) for folder in plan.state for path in _sockets_in(folder)])
    yield from _group("abstract_socket", abstract_names(_text("/proc/net/unix")))


def abstract_names(table: str) -> list[str]:
    """The abstract names that somebody listens on, from the text of `/proc/net/unix`. Pure."""
    rows = (line.split(maxsplit=7) for line in table.splitlines()[1:])
    names = [row[7] for row in rows if len(row) == 8 and row[3] == LISTENING and row[7].startswith("@")]  # noqa: PLR2004
    return sorted(set(names))[:MOST_NAMES]


def connects(path: str) -> tuple[State, Seen]:
    """Whether a unix socket takes a connection; `@` in front stands for an abstract one."""
    address = "\0" + path[1:] if path.startswith("@") else path
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_UNIX, kind) as trial:
            trial.settimeout(1)
            try:
                trial.connect(address)
            except OSError as error:
                if error.errno == errno.EPROTOTYPE:
                    continue
                return _closed(error)
            return State.OPEN, Seen.CONNECTED
    return State.UNKNOWN, Seen.FAILED


def file_attempts(plan: Plan) -> Iterator[Attempt]:
    """The state directory and what lies in it. Nothing of a file is read: that it opens is enough."""
    for folder in plan.state:
        yield Attempt("state_directory", str(folder), *_listable(folder))
        for way, names in (("database", DATABASES), ("ca_key", CA_FILES), ("secret_files", SECRET_FILES)):
            for name in names:
                yield Attempt(way, str(folder / name), *opens(folder / name))


def opens(path: Path) -> tuple[State, Seen]:
    """Whether a file opens for reading."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return _closed(error)
    return State.OPEN, Seen.READABLE


def _listable(folder: Path) -> tuple[State, Seen]:
    try:
        with os.scandir(folder) as entries:
            empty = next(entries, None) is None
    except OSError as error:
        return _closed(error)
    return (State.CLOSED, Seen.ABSENT) if empty else (State.OPEN, Seen.READABLE)


def _closed(error: OSError) -> tuple[State, Seen]:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR | errno.ENODEV | errno.ESRCH:
            return State.CLOSED, Seen.ABSENT
        case errno.EACCES | errno.EPERM:
            return State.CLOSED, Seen.NOT_PERMITTED
        case errno.ECONNREFUSED:
            return State.CLOSED, Seen.NOBODY_LISTENS
        case _:
            return State.UNKNOWN, Seen.FAILED


def _group(way: str, paths: Iterable[str]) -> Iterator[Attempt]:
    """One attempt for each path that is there; where none is, one that says so."""
    found = False
    seen = set()
    for path in (path.format(uid=os.getuid()) if "{uid}" in path else path for path in paths):
        real = path if path.startswith("@") else os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        state, what = connects(path)
        if what is not Seen.ABSENT:
            found = True
            yield Attempt(way, path, state, what)
    if not found:
        yield Attempt(way, "none", State.CLOSED, Seen.ABSENT)


def _named(variables: Mapping[str, str], *names: str) -> list[str]:
    return [value for name in names if (value := variables.get(name, "")).startswith("/")]


def _unix_of(variables: Mapping[str, str], *names: str) -> list[str]:
    """Paths in `unix:///path`, `unix:path=/path,…` and `unix:abstract=name,…`."""
    found = []
    for name in names:
        value = variables.get(name, "")
        if value.startswith("unix:///"):
            found.append(value.removeprefix("unix://"))
        elif value.startswith("unix:path="):
            found.append(value.removeprefix("unix:path=").split(",")[0].split(";")[0])
        elif value.startswith("unix:abstract="):
            found.append("@" + value.removeprefix("unix:abstract=").split(",")[0].split(";")[0])
    return found


def _sockets_in(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return [path for path in sorted(folder.iterdir()) if stat.S_ISSOCK(path.lstat().st_mode)]
    return []


def _text(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text("utf-8", "replace")
    return ""
