"""What the kernel says of a process: CPU time and memory; Linux only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """User and system time of all threads of `pid` so far, in seconds; the kernel counts in ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def machine_cpu_s() -> float:
    """CPU time that all processes of the machine have used so far, in seconds (`/proc/stat`; no idle, no steal)."""
    user, nice, system, _idle, _wait, irq, softirq = map(int, Path("/proc/stat").read_text("ascii").split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS_PER_S


def rss_kib(pid: int) -> int:
    """Resident memory of `pid` in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def pin(cores: set[int]) -> None:
    """Keep this process and those it starts on `cores`, where the machine has them."""
    if cores <= os.sched_getaffinity(0):
        os.sched_setaffinity(0, cores)
