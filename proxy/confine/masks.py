"""Hides the sidecar's state from a confined program, and every socket through which others would act for it.

A unix socket with a path is not held back by a network namespace: whoever opens `docker.sock`, the session bus, an SSH
agent or `nscd` has a way out. Their directories are replaced by empty ones, and sockets that stand elsewhere are
covered. Abstract sockets belong to the network namespace and need nothing.

Source: mount_namespaces(7), unix(7), proc_sys(5).
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.confine import linux
from proxy.confine.errors import ConfineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RUN: Final = Path("/run")
KEPT_IN_RUN: Final = ("current-system", "booted-system", "opengl-driver", "media", "mount")
"""Programs and disks, not sockets."""
OWN_DIRECTORIES: Final = ("XDG_RUNTIME_DIR", "TMPDIR")
BUNDLE: Final = "SSL_CERT_FILE"
"""Whom the program trusts, which stands below its TMPDIR."""
SOCKET_DIRECTORIES: Final = ("/var/run", "/tmp/.X11-unix", "/tmp/.ICE-unix")  # noqa: S108  # they are hidden
READ_ONLY: Final = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/sys")
"""Where root's user id, without any capability, could still change the machine (core_pattern, uevent_helper)."""
NAMESERVER: Final = "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n"
NOTHING: Final = "/dev/null"
UNIX_TABLE: Final = "/proc/net/unix"
PATH_COLUMN: Final = 7
_PATHS: Final = re.compile(r"/[^\s,;:]+")


def sockets(environment: Mapping[str, str]) -> list[str]:
    """Paths of the unix sockets of this network namespace, and of those that variables name (`SSH_AUTH_SOCK`)."""
    table = Path(UNIX_TABLE).read_text("utf-8", "surrogateescape").splitlines()[1:]
    bound = [columns[PATH_COLUMN] for line in table if len(columns := line.split(None, PATH_COLUMN)) > PATH_COLUMN]
    named = [path for value in environment.values() for path in _PATHS.findall(value)]
    return sorted({path for path in (*bound, *named) if path.startswith("/") and _is_socket(path)})


def cover(hidden: Iterable[str], sockets: Iterable[str], environment: Mapping[str, str]) -> None:
    """Cover everything, in a mount namespace of our own that has a process namespace of its own.

    Raises:
        ConfineError: something cannot be covered.
    """
    try:
        linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
        _own_processes()
        for path in READ_ONLY:
            _freeze(path)
        _empty_run(environment)
        for path in (*SOCKET_DIRECTORIES, f"/tmp/tmux-{os.getuid()}", *hidden, *sockets):  # noqa: S108
            _hide(path)
        _own_names()
    except OSError as error:
        raise ConfineError(f"{error.filename or 'a mount'} cannot be hidden: {error.strerror}") from None


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)  # noqa: PTH116  # strings from the kernel
    except (OSError, ValueError):
        return False


def _own_processes() -> None:
    """A /proc of our process namespace.

    Where parts of /proc are covered already (containers) the kernel forbids that. Then the old one stays, and only our
    user namespace bars access to other processes.
    """
    with contextlib.suppress(PermissionError):
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)


def _freeze(path: str) -> None:
    if os.path.exists(path):  # noqa: PTH110
        linux.mount(path, path, flags=linux.MS_BIND | linux.MS_REC)
        linux.read_only(path)


def _empty_run(environment: Mapping[str, str]) -> None:
    if not RUN.is_dir() or RUN.is_symlink():
        return
    bundle, roots = Path(environment.get(BUNDLE, NOTHING)), b""
    if bundle.is_relative_to(RUN) and bundle.is_file():
        roots = bundle.read_bytes()
    kept = {name: os.open(RUN / name, os.O_PATH | os.O_NOFOLLOW) for name in KEPT_IN_RUN if (RUN / name).exists()}
    _empty(str(RUN))
    for name, descriptor in kept.items():
        if stat.S_ISLNK(os.fstat(descriptor).st_mode):
            (RUN / name).symlink_to(os.readlink("", dir_fd=descriptor))  # its path is covered now
        else:
            (RUN / name).mkdir()
            linux.mount(f"/proc/self/fd/{descriptor}", str(RUN / name), flags=linux.MS_BIND | linux.MS_REC)
        os.close(descriptor)
    for own in (Path(environment.get(name, NOTHING)) for name in OWN_DIRECTORIES):
        if own.is_relative_to(RUN):
            own.mkdir(mode=0o700, parents=True, exist_ok=True)
    if roots:
        bundle.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        bundle.write_bytes(roots)


def _empty(path: str) -> None:
    linux.mount("tmpfs", path, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=0755,size=64m")


def _hide(path: str) -> None:
    """An empty directory in place of one, an empty file in place of anything else; a symbolic link hides its target."""
    real = os.path.realpath(path)
    if os.path.isdir(real):  # noqa: PTH112
        if real != str(RUN):
            _empty(real)
    elif os.path.exists(real):  # noqa: PTH110
        linux.mount(NOTHING, real, flags=linux.MS_BIND)


def _own_names() -> None:
    """Search domains and a hosts file would turn a name into another one, or into an address, before we see it."""
    _replace("/etc/resolv.conf", NAMESERVER)
    _replace("/etc/hosts", f"127.0.0.1 localhost {socket.gethostname()}\n::1 localhost\n")


def _replace(path: str, text: str) -> None:
    real = Path(os.path.realpath(path))
    if real.is_relative_to(RUN):
        real.parent.mkdir(parents=True, exist_ok=True)
        real.write_text(text)
    elif real.exists():
        ours = RUN / f"briefcased-{real.name}"
        ours.write_text(text)
        linux.mount(str(ours), str(real), flags=linux.MS_BIND)
