"""Run a program that has one more line in its /etc/hosts: `private_hosts.py FILE PROGRAM ARGUMENT…`.

In a mount namespace of its own (and, without root, a user namespace) FILE stands in the place of /etc/hosts. Where
the kernel does not allow that, the program runs all the same, with the machine's own file. Linux.
Exit code 99 for `--probe FILE`: not allowed here.
"""

import contextlib
import ctypes
import os
import sys
from pathlib import Path

MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
NOT_ALLOWED = 99


def enter(hosts: str) -> None:
    """Raises `OSError` where it is not allowed."""
    user, group = os.getuid(), os.getgid()
    if user == 0:
        os.unshare(os.CLONE_NEWNS)
    else:
        os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    libc = ctypes.CDLL(None, use_errno=True)
    for source, target, flags in ((b"none", b"/", MS_REC | MS_PRIVATE), (hosts.encode(), b"/etc/hosts", MS_BIND)):
        if libc.mount(source, target, None, flags, None) != 0:
            raise OSError(ctypes.get_errno(), "mount")


def main(arguments: list[str]) -> None:
    """See above."""
    if arguments[0] == "--probe":
        enter(arguments[1])
        return
    with contextlib.suppress(OSError, AttributeError):
        enter(arguments[0])
    os.execvp(arguments[1], arguments[1:])  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except FileNotFoundError as missing:
        sys.exit(f"{missing.filename}: not found")
    except (OSError, AttributeError):
        sys.exit(NOT_ALLOWED)
