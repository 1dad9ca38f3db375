"""Ways into the sidecar's process: its environment, memory, root directory, and tracing it.

Nothing is read: that a file of `/proc` opens is enough. Tracing is tried by a child that ends at once, which ends the
tracing too, so that the sidecar is not stopped.

Source: ptrace(2), "Ptrace access mode checking"; proc_pid_mem(5).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.confine.probe.places import opens
from proxy.confine.probe.ways import Attempt, Seen, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COMMANDS: Final = frozenset({"run", "up"})
MOST_PROCESSES: Final = 8
WAYS_IN: Final = (("process_environment", "environ"), ("process_memory", "mem"), ("process_files", "root"))
TRACE: Final = """
import ctypes, sys
library = ctypes.CDLL(None, use_errno=True)
library.ptrace.argtypes = [ctypes.c_long] * 4
sys.exit(0 if library.ptrace(0x4206, int(sys.argv[1]), 0, 0) == 0 else 3)
"""
"""PTRACE_SEIZE does not stop the process; exit code 3 says that it was refused."""
TRACED: Final = 0
TRACE_REFUSED: Final = 3


def process_attempts() -> Iterator[Attempt]:
    """Four attempts for every sidecar that can be seen; where none can, they say so."""
    found = sidecars()[:MOST_PROCESSES]
    for pid in found:
        for way, name in WAYS_IN:
            path = Path(f"/proc/{pid}/{name}")
            yield Attempt(way, str(path), *(opens(path) if name != "root" else _enters(path)))
        yield Attempt("process_trace", str(pid), *traces(pid))
    if not found:
        for way in (*(way for way, _ in WAYS_IN), "process_trace"):
            yield Attempt(way, "none", State.CLOSED, Seen.ABSENT)


def sidecars() -> list[int]:
    """The processes that look like `briefcased up` or `briefcased run`, this one left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if is_sidecar((entry / "cmdline").read_bytes().split(b"\0")):
                    found.append(int(entry.name))
    return sorted(found)


def is_sidecar(arguments: Sequence[bytes]) -> bool:
    """Whether a command line is that of a sidecar: `briefcased`, or `-m proxy`, then `up` or `run`. Pure."""
    words = [word.decode("utf-8", "replace") for word in arguments[:8]]
    for at, word in enumerate(words[:-1]):
        ours = word.rpartition("/")[2] == "briefcased" or (word == "proxy" and at > 0 and words[at - 1] == "-m")
        if ours and words[at + 1] in COMMANDS:
            return True
    return False


def traces(pid: int) -> tuple[State, Seen]:
    """Whether the process lets itself be traced."""
    done = subprocess.run([sys.executable, "-I", "-c", TRACE, str(pid)], capture_output=True, timeout=20, check=False)  # noqa: S603
    if done.returncode == TRACED:
        return State.OPEN, Seen.HELD
    return (State.CLOSED, Seen.NOT_PERMITTED) if done.returncode == TRACE_REFUSED else (State.UNKNOWN, Seen.FAILED)


def _enters(root: Path) -> tuple[State, Seen]:
    """A root directory that is ours as well leads nowhere new."""
    state, seen = opens(root)
    with contextlib.suppress(OSError):
        if state is State.OPEN and root.stat() == Path("/").stat():
            return State.CLOSED, Seen.HARMLESS
    return state, seen
