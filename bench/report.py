"""From measurements to tables."""

from __future__ import annotations

import os
import platform
import ssl
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from contenders import DIRECT, FULL, INJECTION, MITMDUMP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    type Row = dict[str, Any]

ORDER: Final = (DIRECT, MITMDUMP, INJECTION, FULL)
TARGETS: Final = {INJECTION: 0.5, FULL: 1.0}
"""The most CPU time per request that is accepted, as a part of mitmdump's."""


def machine(receipts: Path, *, pinned: bool) -> dict[str, Any]:
    """What the numbers belong to; `receipts` is where they are written."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return {
        "cores": os.cpu_count(),
        "processor": models[0] if models else platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "mitmproxy": version("mitmproxy"),
        "disk": file_system(receipts),
        "pinned": pinned,
        "load_at_start": os.getloadavg()[0],
    }


def file_system(folder: Path) -> str:
    """The kind of file system that `folder` is on; receipts on `tmpfs` are not durable, and cheaper."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    mounts = [(Path(line.split()[1]), line.split()[2]) for line in lines]
    above = [(len(place.parts), kind) for place, kind in mounts if folder.is_relative_to(place)]
    return max(above, key=lambda mount: mount[0])[1] if above else "unknown"


def text(result: dict[str, Any]) -> str:
    """The whole result for a person."""
    parts = [_machine_line(result["machine"]), *_rates(result["rates"]), _targets(result["rates"])]
    foreign = [row["foreign"] for row in result["rates"]]
    noise = f"Others used {median(foreign):.2f} cores in the middle window, {max(foreign):.2f} in the worst."
    parts += [_streams(result["streams"]), _memory(result["memory"]), f"Took {result['took_s']:.0f} s. {noise}"]
    return "\n\n".join(parts)


def _machine_line(facts: Row) -> str:
    pinned = "proxy alone on one core, client and provider on the other" if facts["pinned"] else "nothing is pinned"
    return (
        f"{facts['cores']} cores ({facts['processor']}), Linux {facts['kernel']}, Python {facts['python']}, "
        f"mitmproxy {facts['mitmproxy']}, {facts['openssl']}; receipts on {facts['disk']}; {pinned}; "
        f"load {facts['load_at_start']:.1f} at the start."
    )


def _rates(rows: list[Row]) -> Iterator[str]:
    titles = ("contender", "requests/s", "p50 ms", "added", "p99 ms", "added", "CPU µs/request", "of mitmdump's")
    for connections in sorted({row["connections"] for row in rows}):
        here = [row for row in rows if row["connections"] == connections]
        lines = [(name, *_rate(here, name)) for name in ORDER]
        yield f"{connections} connection{'s' if connections > 1 else ''}\n\n{table(titles, lines)}"


def _rate(rows: list[Row], name: str) -> tuple[str, ...]:
    own = [row for row in rows if row["name"] == name]
    cells = [f"{median(row['requests_per_s'] for row in own):,.0f}"]
    for key in ("p50_ms", "p99_ms"):
        added = median(compared(rows, name, DIRECT, key, ratio=False))
        cells += [f"{median(row[key] for row in own):.2f}", "-" if name == DIRECT else f"{added:+.2f}"]
    if name == DIRECT:
        return (*cells, "-", "-")
    shares = compared(rows, name, MITMDUMP, "cpu_us", ratio=True)
    spread = f"{median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})" if name != MITMDUMP else "1"
    return (*cells, f"{median(row['cpu_us'] for row in own):,.0f}", spread)


def compared(rows: list[Row], name: str, reference: str, key: str, *, ratio: bool) -> list[float]:
    """`key` of `name` against `reference` in the same round, once for every round: its ratio, or its difference."""
    by_round = {row["round"]: row[key] for row in rows if row["name"] == reference}
    own = ((row[key], by_round[row["round"]]) for row in rows if row["name"] == name)
    return [mine / theirs if ratio else mine - theirs for mine, theirs in own]


def _targets(rows: list[Row]) -> str:
    lines = []
    for name, most in TARGETS.items():
        for connections in sorted({row["connections"] for row in rows}):
            here = [row for row in rows if row["connections"] == connections]
            share = median(compared(here, name, MITMDUMP, "cpu_us", ratio=True))
            lines.append((name, f"{connections}", f"{share:.2f}", f"{most}", "met" if share <= most else "missed"))
    return table(("CPU per request, of mitmdump's", "connections", "measured", "at most", "target"), lines)


def _streams(streams: dict[str, Row]) -> str:
    direct = streams[DIRECT]
    lines = [
        (
            name,
            f"{streams[name]['p50_ms']:.2f}",
            "-" if name == DIRECT else f"{streams[name]['p50_ms'] - direct['p50_ms']:+.2f}",
            f"{streams[name]['max_ms']:.2f}",
        )
        for name in ORDER
    ]
    titles = ("time to the first event", "p50 ms", "added", "worst ms")
    return table(titles, lines)


def _memory(memory: dict[str, Row]) -> str:
    count = int(memory[FULL]["count"])
    titles = (
        "resident memory, MiB", "start", f"{count} opened and closed", f"{count} open, idle", "KiB per open one",
        "after these", "new connections/s", "CPU µs/connection",
    )  # fmt: skip
    lines = []
    for name in (each for each in ORDER if each in memory):
        row = memory[name]
        kib = ("start_kib", "closed_kib", "idle_kib", "after_idle_kib")
        start, closed, idle, after = (f"{row[key] / 1024:.0f}" for key in kib)
        each = f"{(row['idle_kib'] - row['closed_kib']) / count:.0f}"
        speed, cost = f"{row['connections_per_s']:.0f}", f"{row['connection_cpu_us']:,.0f}"
        lines.append((name, start, closed, idle, each, after, speed, cost))
    return table(titles, lines)


def table(titles: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """A Markdown table whose columns line up."""
    rows = [list(titles), *map(list, lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * width if index == 0 else "-" * (width - 1) + ":" for index, width in enumerate(widths)]
    return "\n".join(
        "| "
        + " | ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        + " |"
        for row in (rows[0], rule, *rows[1:])
    )
