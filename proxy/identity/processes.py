"""Processes of this machine by names that are not used again: `process:PID:START`. Reads /proc (Linux).

START is when the process started, in clock ticks after the boot (proc_pid_stat(5), field 22).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

PREFIX: Final = "process:"
MAX_GENERATIONS: Final = 64
_STATE, _PARENT, _START = 0, 1, 19
"""Places of the fields 3, 4 and 22, after the program's name."""
_ENDED: Final = ("Z", "X")
"""States of a process that has ended but is still in the table."""


def name_of(pid: int) -> str | None:
    """The name of process `pid`; None where there is none, or it cannot be known."""
    fields = _stat(pid)
    return None if fields is None else f"{PREFIX}{pid}:{fields[_START]}"


def lineage_of(pid: int) -> tuple[str, ...]:
    """The names of process `pid` and of its ancestors, as far as we see them; empty where it cannot be known."""
    names: list[str] = []
    while pid > 0 and len(names) < MAX_GENERATIONS:
        fields = _stat(pid)
        if fields is None:
            break
        names.append(f"{PREFIX}{pid}:{fields[_START]}")
        pid = int(fields[_PARENT])
    return tuple(names)


def lives(name: str) -> bool:
    """Whether the process of this name still runs."""
    _, _, rest = name.partition(PREFIX)
    pid, _, start = rest.partition(":")
    fields = _stat(int(pid))
    return fields is not None and fields[_START] == start


def _stat(pid: int) -> list[str] | None:
    """The fields of a process that has not ended, from its state on."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the program's name may hold anything, also spaces and brackets
    return None if len(fields) <= _START or fields[_STATE] in _ENDED else fields
