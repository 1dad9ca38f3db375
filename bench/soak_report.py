"""What the soak saw, as JSON types and as a short table; the reasons for which it fails."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from probes import percentile
from report import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from soak_sidecar import Sample

WINDOWS: Final = 6
"""Of equal length, after the warm-up; the last is compared with the first."""


@dataclass(slots=True)
class Tally:
    """What clients of one kind did. `requests` is the number of receipts that they must have left."""

    name: str
    clients: int = 0
    requests: int = 0
    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


def windows(samples: Sequence[Sample], warm_s: float, end_s: float) -> list[tuple[float, float]]:
    """Median resident and anonymous memory in MiB of each window between `warm_s` and `end_s`."""
    step_s = (end_s - warm_s) / WINDOWS
    found = []
    for start_s, stop_s in pairwise(warm_s + number * step_s for number in range(WINDOWS + 1)):
        inside = [one for one in samples if start_s <= one.at_s < stop_s]
        if inside:
            resident, anonymous = (one.rss_kib for one in inside), (one.anonymous_kib for one in inside)
            found.append((median(resident) / 1024, median(anonymous) / 1024))
    return found


def growth_percent(values: Sequence[float]) -> float:
    """From the first to the last; negative where memory was given back."""
    return (values[-1] / values[0] - 1) * 100


def row(tally: Tally) -> dict[str, Any]:
    """One kind, as JSON types."""
    times = (
        {f"p{percent}_ms": percentile(tally.seconds, percent) * 1000 for percent in (50, 99)} if tally.seconds else {}
    )
    return {
        "kind": tally.name,
        "clients": tally.clients,
        "calls": len(tally.seconds),
        "requests": tally.requests,
        **times,
        "worst_ms": max(tally.seconds, default=0.0) * 1000,
        "errors": dict(tally.errors),
    }


def failures(result: dict[str, Any], growth_limit: float) -> list[str]:
    """Every reason for which the soak fails; empty when it passed."""
    return list(_failures(result, growth_limit))


def _failures(result: dict[str, Any], growth_limit: float) -> Iterable[str]:
    for kind in result["kinds"]:
        for error, count in kind["errors"].items():
            yield f"{kind['kind']}: {error} ({count} times)"
        if not kind["calls"]:
            yield f"{kind['kind']}: not one call was made"
    memory, descriptors, receipts = result["memory"], result["descriptors"], result["receipts"]
    if len(memory["rss_mib"]) < 2:
        yield "memory: too few samples to compare"
    elif memory["growth_percent"] >= growth_limit:
        yield f"memory: {memory['growth_percent']:.1f} % more in the last window than in the first"
    if descriptors["after"] > descriptors["base"]:
        yield f"descriptors: {descriptors['after']} at the end, {descriptors['base']} before"
    if not receipts["ok"]:
        yield f"receipts: {'; '.join(receipts['problems'][:3])}"
    if receipts["calls"] != receipts["expected"]:
        yield f"receipts: {receipts['calls']} calls instead of {receipts['expected']}"
    if result["exit_code"]:
        yield f"the sidecar ended with {result['exit_code']}"
    yield from (f"log: {line[:200]}" for line in result["log"][:5])


def text(result: dict[str, Any]) -> str:
    """The summary."""
    return "\n".join(
        [
            _head(result),
            "",
            _kinds(result["kinds"]),
            "",
            *_memory(result["memory"]),
            *_ends(result["descriptors"], result["receipts"]),
            *(f"FAILED: {reason}" for reason in result["failures"]),
            "soak: failed" if result["failures"] else "soak: ok",
        ]
    )


def _head(result: dict[str, Any]) -> str:
    return (
        f"{result['clients']} clients, {result['minutes']:g} minutes, {result['requests_per_s']:.0f} requests/s; the "
        f"sidecar used {result['cpu_cores']:.2f} cores, the machine {result['machine_cores']:.2f} of {result['cores']}"
    )


def _kinds(kinds: Iterable[dict[str, Any]]) -> str:
    return table(
        ["client", "clients", "calls", "requests", "p50 ms", "p99 ms", "worst ms", "errors"],
        (
            (
                kind["kind"],
                f"{kind['clients']}",
                f"{kind['calls']:,}",
                f"{kind['requests']:,}",
                *(f"{kind.get(name, 0):,.0f}" for name in ("p50_ms", "p99_ms", "worst_ms")),
                f"{sum(kind['errors'].values())}",
            )
            for kind in kinds
        ),
    )


def _memory(memory: dict[str, Any]) -> Iterable[str]:
    for name, key in (("resident", "rss_mib"), ("anonymous", "anonymous_mib")):
        medians = ", ".join(f"{value:.1f}" for value in memory[key])
        yield f"{name} memory, medians of {WINDOWS} windows after {memory['warm_s']:.0f} s, MiB: {medians}"
    grown = f"{memory['growth_percent']:+.1f} %"
    yield f"resident memory, last window against the first: {grown}; peak {memory['peak_mib']:.1f} MiB"


def _ends(descriptors: dict[str, int], receipts: dict[str, Any]) -> Iterable[str]:
    yield f"descriptors: {descriptors['base']} before, {descriptors['peak']} at most, {descriptors['after']} afterwards"
    counts = f"{receipts['calls']:,} calls of {receipts['expected']:,}, {receipts['records']:,} records"
    yield f"receipts: {'ok' if receipts['ok'] else 'NOT ok'}, {counts}"
