"""`make bench`: no proxy, plain mitmdump, header injection alone, and briefcased, side by side in one run.

    python bench/run.py [--quick] [--json FILE]

Absolute numbers belong to one machine at one moment; the ratios are what to compare. Contenders take turns in rounds
and medians over the rounds are printed. `docs/performance.md` says what is and what is not measured.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import report
from client import BrokenError
from contenders import Contender, Cores, contenders, measured

if TYPE_CHECKING:
    from collections.abc import Iterable

CONNECTIONS: Final = (1, 16, 64)
DESCRIPTORS: Final = 8192
DISTURBED: Final = 0.15
"""Cores that others may use in a window; above it the window is measured again, `repeats` times in a run at most."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often. `memory_connections` are opened one after the other, then all at once."""

    rounds: int
    window_s: float
    streams: int
    memory_connections: int
    repeats: int


FULL: Final = Plan(rounds=3, window_s=1.2, streams=20, memory_connections=1000, repeats=4)
QUICK: Final = Plan(rounds=1, window_s=0.5, streams=5, memory_connections=60, repeats=1)


def allow_descriptors() -> None:
    """1,000 tunnels are 2,000 sockets in a proxy. Raises `BrokenError` where the system forbids that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, DESCRIPTORS) if hard == resource.RLIM_INFINITY else min(max(soft, DESCRIPTORS), hard)
    if wanted < DESCRIPTORS:
        raise BrokenError(f"raise the limit of open files: ulimit -n {DESCRIPTORS}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def memory(plan: Plan, running: Iterable[Contender], cores: Cores) -> dict[str, Any]:
    """Memory and new connections, by contender."""
    order = {"count": plan.memory_connections}
    return {c.name: measured(c.order("memory", **order), cores.others) for c in running if c.pid is not None}


def streams(plan: Plan, running: Iterable[Contender], cores: Cores) -> dict[str, Any]:
    """Time to the first event, by contender."""
    return {c.name: measured(c.order("stream", samples=plan.streams), cores.others) for c in running}


def rates(plan: Plan, running: list[Contender], cores: Cores) -> list[dict[str, Any]]:
    """One row for every window: contenders take turns, so that a slow phase of the machine meets all of them."""
    rows, repeats = [], plan.repeats
    for number in range(plan.rounds):
        turn = number % len(running)
        for connections in CONNECTIONS:
            for contender in (*running[turn:], *running[:turn]):
                order = contender.order("rate", connections=connections, window_s=plan.window_s)
                got = measured(order, cores.others)
                while got["foreign"] > DISTURBED and repeats:
                    repeats -= 1
                    got = min(got, measured(order, cores.others), key=lambda one: one["foreign"])
                rows.append({"round": number, "name": contender.name, "connections": connections, **got})
                say(f"round {number + 1}, {connections} connections, {contender.name}: {got['requests_per_s']:.0f}/s")
    return rows


def say(line: str) -> None:
    """Progress, beside the result."""
    print(line, file=sys.stderr, flush=True)


def run(plan: Plan) -> dict[str, Any]:
    """Everything, as JSON types."""
    started_s, cores = time.monotonic(), Cores.of_machine()
    with tempfile.TemporaryDirectory(prefix="briefcased-bench-") as folder:
        result: dict[str, Any] = {"machine": report.machine(Path(folder), pinned=cores.proxy is not None)}
        for part in ("fresh", "warm"):
            (Path(folder) / part).mkdir()
        say("memory and new connections, on fresh processes")
        with contenders(Path(folder) / "fresh", cores) as running:
            result["memory"] = memory(plan, running, cores)
        with contenders(Path(folder) / "warm", cores) as running:
            say("time to the first event")
            result["streams"] = streams(plan, running, cores)
            result["rates"] = rates(plan, running, cores)
    result["took_s"] = time.monotonic() - started_s
    return result


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="one short round; for a first look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single measurement there")
    chosen = parser.parse_args()
    try:
        allow_descriptors()
        result = run(QUICK if chosen.quick else FULL)
    except BrokenError as error:
        sys.exit(f"the measurement failed: {error}")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(result, indent=1) + "\n")
    print(report.text(result))


if __name__ == "__main__":
    main()
