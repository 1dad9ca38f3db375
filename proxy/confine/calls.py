"""The seccomp filter over a confined program, as a classic BPF program. Pure.

The namespaces confine; this closes what they do not cover: making new ones, sockets that no network namespace holds
(vsock, Bluetooth), calls that would go around this filter (io_uring), the kernel's keyrings, which belong to the user,
and typing into the operator's terminal.

Source: seccomp(2); linux/filter.h, linux/audit.h and the system call tables of x86-64 and arm64.
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass
from typing import Final

from proxy.confine.errors import ConfineError


@dataclass(frozen=True, slots=True)
class Machine:
    """An architecture: its audit number, and its numbers of the calls that are looked at."""

    audit: int
    refused: tuple[int, ...]
    clone: int
    unshare: int
    socket: int
    ioctl: int


_NEW_INTERFACE: Final = (
    425, 426, 427,  # io_uring_setup, io_uring_enter, io_uring_register
    428, 429, 430, 431, 432, 433, 442,  # open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr
)  # fmt: skip
"""Calls with the same number on every machine."""
_CLONE3: Final = 435
MACHINES: Final = {
    "x86_64": Machine(
        0xC000003E,
        # mount, umount2, pivot_root, chroot, setns, bpf, perf_event_open, add_key, request_key, keyctl,
        # open_by_handle_at
        (*_NEW_INTERFACE, 165, 166, 155, 161, 308, 321, 298, 248, 249, 250, 304),
        clone=56,
        unshare=272,
        socket=41,
        ioctl=16,
    ),
    "aarch64": Machine(
        0xC00000B7,
        (*_NEW_INTERFACE, 40, 39, 41, 51, 268, 280, 241, 217, 218, 219, 265),
        clone=220,
        unshare=97,
        socket=198,
        ioctl=29,
    ),
}
_X32: Final = 0x40000000
_NEW_NAMESPACES: Final = 0x7E020000
_NEW_TIME: Final = 0x80
_TYPING: Final = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX."""
FAMILIES: Final = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, 16)
"""The last is AF_NETLINK, with which libraries read addresses and routes."""

_LOAD, _EQUALS, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24
"""Offsets in struct seccomp_data; of arguments the low half, on machines with the low byte first."""
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000


def program(machine: str) -> bytes:
    """The filter for `machine`, as `os.uname().machine` names it.

    Raises:
        ConfineError: we do not know its system calls.
    """
    found = MACHINES.get(machine)
    if found is None:
        raise ConfineError(f"a program cannot be confined on {machine}; it can on {' and '.join(MACHINES)}")
    refuse = _give(errno.EPERM)
    steps = [_load(_ARCHITECTURE), *_unless(_EQUALS, found.audit, refuse), _load(_NUMBER)]
    if machine == "x86_64":
        steps += _when(_AT_LEAST, _X32, [_give(errno.ENOSYS)])
    for number in found.refused:
        steps += _when(_EQUALS, number, [refuse])
    # Its flags are in memory, which a filter cannot read; the C library then takes clone.
    steps += _when(_EQUALS, _CLONE3, [_give(errno.ENOSYS)])
    spaces = [_load(_FIRST), *_when(_ANY_BIT, _NEW_NAMESPACES, [refuse]), _op(_RETURN, _ALLOW)]
    steps += _when(_EQUALS, found.clone, spaces)
    spaces = [_load(_FIRST), *_when(_ANY_BIT, _NEW_NAMESPACES | _NEW_TIME, [refuse]), _op(_RETURN, _ALLOW)]
    steps += _when(_EQUALS, found.unshare, spaces)
    families = [step for family in FAMILIES for step in _when(_EQUALS, family, [_op(_RETURN, _ALLOW)])]
    steps += _when(_EQUALS, found.socket, [_load(_FIRST), *families, _give(errno.EAFNOSUPPORT)])
    typing = [step for request in _TYPING for step in _when(_EQUALS, request, [refuse])]
    steps += _when(_EQUALS, found.ioctl, [_load(_SECOND), *typing])
    return b"".join([*steps, _op(_RETURN, _ALLOW)])


def _op(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _load(offset: int) -> bytes:
    return _op(_LOAD, offset)


def _give(code: int) -> bytes:
    return _op(_RETURN, _ERRNO | code)


def _when(test: int, value: int, then: list[bytes]) -> list[bytes]:
    return [_op(test, value, 0, len(then)), *then]


def _unless(test: int, value: int, otherwise: bytes) -> list[bytes]:
    return [_op(test, value, 1, 0), otherwise]
