"""Start again with an empty environment block, and get the environment through a pipe that is read once.

What a process was started with stays readable in `/proc/PID/environ` however it changes its variables. So `briefcased
run` replaces itself, before it loads anything, by the same program with the few variables that an interpreter
needs at its start; the others come back into `os.environ`, which lives on the heap. Only the standard library is
imported here, as every import costs its time twice.

Source: proc_pid_environ(5), PR_SET_DUMPABLE(2const), ptrace(2).
"""

from __future__ import annotations

import os
import stat
import sys
from typing import Final, NoReturn

MARK: Final = "BRIEFCASED_HANDOVER_FD"
COMMAND: Final = "run"
LENGTH_BYTES: Final = 8
PR_SET_DUMPABLE: Final = 4
NEEDED_AT_START: Final = frozenset(
    {
        "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "LOCPATH", "PYTHONCOERCECLOCALE", "PYTHONDEVMODE",
        "PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER", "PYTHONHASHSEED", "PYTHONHOME", "PYTHONIOENCODING",
        "PYTHONMALLOC", "PYTHONNOUSERSITE", "PYTHONOPTIMIZE", "PYTHONPATH", "PYTHONPLATLIBDIR", "PYTHONPYCACHEPREFIX",
        "PYTHONSAFEPATH", "PYTHONTRACEMALLOC", "PYTHONUNBUFFERED", "PYTHONUSERBASE", "PYTHONUTF8", "PYTHONWARNINGS",
        "TZ",
    }
)  # fmt: skip
"""Named one by one: a prefix would also keep an operator's `PYTHON_TOKEN`."""


class HandoverError(Exception):
    """The environment could not be handed over; its text holds no value."""


def hand_over_for(arguments: list[str]) -> None:
    """`hand_over`, where `arguments` (a `sys.argv`) are those of `briefcased run`.

    Exits:
        1: it was not possible; the reason is written to standard error.
    """
    if arguments[1:2] != [COMMAND]:
        return
    try:
        hand_over()
    except HandoverError as error:
        sys.exit(f"briefcased: {error}")


def hand_over() -> None:
    """On the first call replace this process, on the next take the environment over; after that do nothing.

    Afterwards `os.environ` is what it was at the start, the environment block is as good as empty, and no other
    process of the same user can look into this one (Linux). Threads do not survive the first call.

    Raises:
        HandoverError: the mark or the pipe is not ours, or the system refuses.
    """
    if (mark := os.environ.get(MARK)) is not None:
        _take(mark)
    elif not _Taken.done:
        _replace()


class _Taken:
    """Whether this process has taken its environment over: a fact of the process, so it cannot be handed in."""

    done = False


def _replace() -> NoReturn:
    if not sys.executable:
        raise HandoverError("the path of the Python interpreter is not known")
    kept = {name: value for name, value in os.environ.items() if name in NEEDED_AT_START}
    try:
        reading = _offered(_packed(os.environb))
        os.set_inheritable(reading, True)
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**kept, MARK: str(reading)})  # noqa: S606
    except OSError as error:
        raise HandoverError(f"the environment cannot be put away: {error.strerror}") from None


def _packed(environment: os._Environ[bytes]) -> bytes:
    entries = b"".join(name + b"=" + value + b"\0" for name, value in environment.items())
    return len(entries).to_bytes(LENGTH_BYTES) + entries


def _offered(data: bytes) -> int:
    """A pipe from which `data` can be read once; a process of its own fills it, as a pipe holds only so much."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        if os.fork() == 0:  # not our child, so that nobody has to wait for it
            os.close(reading)
            _fill(writing, data)
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    return reading


def _fill(writing: int, data: bytes) -> None:
    try:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(data)
    except OSError:
        os._exit(1)


def _take(mark: str) -> None:
    try:
        reading = int(mark)
        if not stat.S_ISFIFO(os.fstat(reading).st_mode):
            raise HandoverError(f"{MARK} is ours: unset it")
        _keep_out()
        with os.fdopen(reading, "rb") as pipe:
            data = pipe.read()
    except (OSError, ValueError, OverflowError):
        raise HandoverError(f"{MARK} is ours: unset it") from None
    entries = data[LENGTH_BYTES:]
    if len(data) < LENGTH_BYTES or int.from_bytes(data[:LENGTH_BYTES]) != len(entries):
        raise HandoverError("the environment did not arrive whole")
    os.environb.clear()
    for entry in entries.split(b"\0")[:-1]:
        name, _, value = entry.partition(b"=")
        os.environb[name] = value
    _Taken.done = True


def _keep_out() -> None:
    """No other process of this user may trace us or read our memory.

    Raises:
        HandoverError: the system refuses.
    """
    if sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415  # only here, and it takes milliseconds

    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(PR_SET_DUMPABLE, *(ctypes.c_ulong(0) for _ in range(4))) != 0:
        raise HandoverError(f"the memory cannot be closed to other processes: {os.strerror(ctypes.get_errno())}")
