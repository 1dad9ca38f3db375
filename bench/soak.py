"""`make soak`: many clients of all kinds on one `briefcased up` for minutes; nothing may err, grow or stay open.

    python bench/soak.py [--minutes 10] [--clients 200] [--think 1] [--growth 5] [--json FILE]

The sidecar and the providers are processes of their own, the clients live in this one. Ends with 1 and the reasons
where an answer was wrong, memory grew, descriptors stayed open, or the receipts do not add up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import secrets
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import httpx
import soak_report as report
from client import BrokenError
from contenders import BENCH, child, first_line
from process import machine_cpu_s
from run import allow_descriptors, say
from soak_clients import KINDS, LIMIT_S, Agent, Kind, Site, shared_out
from soak_sidecar import Sample, Sidecar, sample, stopped
from websockets.exceptions import WebSocketException

from tests.rig.program import spellings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from soak_clients import Call

EXPECTED: Final = (
    BrokenError, OSError, TimeoutError, ValueError, KeyError,
    httpx.HTTPError, httpx.StreamError, WebSocketException, grpc.RpcError,
)  # fmt: skip
"""What a client may meet; anything else is a mistake in the soak and ends it."""
SAMPLE_S: Final = 2.0
PROGRESS_S: Final = 10.0
SETTLE_S: Final = 20.0
STILL_S: Final = 2.0
WARM_PART: Final = 0.2
START_PART: Final = 0.05
"""Of the run, in which the clients start one after the other."""


@dataclass(slots=True)
class Run:
    """One soak while it goes on. `over` tells the clients to end after the call that they are at."""

    site: Site
    pid: int
    factor: float
    start_s: float
    tallies: dict[str, report.Tally] = field(default_factory=lambda: {k.name: report.Tally(k.name) for k in KINDS})
    samples: list[Sample] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def calls(self) -> int:
        """Calls that were answered as they should."""
        return sum(len(tally.seconds) for tally in self.tallies.values())

    @property
    def requests(self) -> int:
        """Receipts that there must be."""
        return sum(tally.requests for tally in self.tallies.values())

    @property
    def errors(self) -> int:
        """Calls and connections that failed."""
        return sum(tally.errors.total() for tally in self.tallies.values())

    def note(self, kind: Kind, errors: list[str]) -> None:
        """Count errors, and say those that are new."""
        seen = self.tallies[kind.name].errors
        for error in errors:
            if error not in seen:
                say(f"{kind.name}: {error}")
            seen[error] += 1

    def think(self, kind: Kind) -> float:
        """Seconds between two calls of a client."""
        return random.uniform(0.5, 1.5) * kind.think_s * self.factor

    async def pause(self, seconds: float) -> None:
        """Until then, or until the soak is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.over.wait()


@contextlib.asynccontextmanager
async def connected(run: Run, kind: Kind, agent: Agent) -> AsyncIterator[Call]:
    """One connection of `kind`, whose end is part of what may fail."""
    async with kind.opened(run.site, agent) as call:
        run.tallies[kind.name].requests += kind.session_requests
        yield call


async def session(run: Run, kind: Kind, agent: Agent, calls: int) -> None:
    """Open, call, close. Raises `EXPECTED`."""
    tally = run.tallies[kind.name]
    async with connected(run, kind, agent) as call:
        for left in reversed(range(calls)):
            started_s = time.perf_counter()
            tally.requests += kind.requests
            async with asyncio.timeout(LIMIT_S):
                await call()
            tally.seconds.append(time.perf_counter() - started_s)
            if left:
                await run.pause(run.think(kind))
            if run.over.is_set():
                return


async def client(run: Run, kind: Kind, agent: Agent) -> None:
    """One client until the soak is over."""
    run.tallies[kind.name].clients += 1
    await run.pause(random.uniform(0, run.start_s))
    while not run.over.is_set():
        try:
            await session(run, kind, agent, kind.calls)
            await run.pause(run.think(kind))
        except* EXPECTED as failed:
            run.note(kind, [said(error) for error in leaves(failed)])
            await run.pause(random.uniform(1, 5))


def leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    """The exceptions in a group of groups."""
    found = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def said(error: BaseException) -> str:
    """An error in one line, without what differs from one to the next."""
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name} {error.details()}"[:200]
    return f"{type(error).__name__} {error}"[:200]


async def watched(run: Run, minutes: float) -> None:
    """Sample and report until the time is over."""
    start_s = next_s = time.monotonic()
    end_s = start_s + minutes * 60
    while (now_s := time.monotonic()) < end_s:
        run.samples.append(sample(run.pid))
        if now_s >= next_s:
            progress(run, now_s - start_s)
            next_s += PROGRESS_S
        await asyncio.sleep(min(SAMPLE_S, max(0.0, end_s - time.monotonic()) + 0.01))
    run.over.set()


def progress(run: Run, after_s: float) -> None:
    """One line."""
    last = run.samples[-1]
    earlier = next((one for one in run.samples if one.at_s > last.at_s - 1.5 * PROGRESS_S), last)
    cores = (last.cpu_s - earlier.cpu_s) / max(last.at_s - earlier.at_s, 0.001)
    say(
        f"{after_s:5.0f} s  {run.calls:7,} calls  {run.requests:7,} requests  {run.errors} errors  "
        f"{last.rss_kib / 1024:6.1f} MiB  {last.descriptors:4} descriptors  {last.threads} threads  {cores:.2f} cores"
    )


async def settled(pid: int) -> int:
    """Open descriptors, once their number has not changed for `STILL_S`, at the latest after `SETTLE_S`."""
    start_s = still_s = time.monotonic()
    count = sample(pid).descriptors
    while (now_s := time.monotonic()) < start_s + SETTLE_S and now_s < still_s + STILL_S:
        await asyncio.sleep(0.1)
        if (seen := sample(pid).descriptors) != count:
            count, still_s = seen, time.monotonic()
    return count


async def soaked(sidecar: Sidecar, ports: dict[str, int], chosen: argparse.Namespace) -> dict[str, Any]:
    """The whole run, as JSON types."""
    sidecar.configure(ports)
    tokens = await sidecar.tokens()
    forms = tuple(form.encode() for form in spellings(sidecar.key))
    async with sidecar.up() as process:
        agents = await sidecar.agents(tokens)
        run = Run(
            Site(ports, sidecar.root(), forms),
            process.pid,
            chosen.think,
            START_PART * chosen.minutes * 60,
        )
        say("each kind of client once")
        for kind in KINDS:
            await session(run, kind, agents[0], 1)
        base = await settled(process.pid)
        started_s, machine_s = time.monotonic(), machine_cpu_s()
        async with asyncio.TaskGroup() as group:
            for number, kind in enumerate(shared_out(chosen.clients)):
                group.create_task(client(run, kind, agents[number % len(agents)]))
            await watched(run, chosen.minutes)
            machine_s = machine_cpu_s() - machine_s
        say("the clients have ended")
        result = {
            "clients": chosen.clients, "minutes": chosen.minutes, "cores": os.cpu_count(),
            **measured(run, started_s, machine_s),
            "descriptors": {
                "base": base, "peak": max(s.descriptors for s in run.samples), "after": await settled(process.pid),
            },
            "receipts": {**await sidecar.receipts(), "expected": run.requests},
            "exit_code": await stopped(process),
        }  # fmt: skip
    result["log"] = sidecar.complaints()
    result["failures"] = report.failures(result, chosen.growth)
    return result


def measured(run: Run, started_s: float, machine_s: float) -> dict[str, Any]:
    """Clients, memory and CPU, as JSON types."""
    first, last = run.samples[0], run.samples[-1]
    took_s = last.at_s - first.at_s
    found = report.windows(run.samples, first.at_s + WARM_PART * took_s, last.at_s + 0.001)
    resident, anonymous = [one for one, _ in found], [one for _, one in found]
    return {
        "kinds": [report.row(tally) for tally in run.tallies.values()],
        "requests_per_s": run.requests / (time.monotonic() - started_s),
        "cpu_cores": (last.cpu_s - first.cpu_s) / took_s,
        "machine_cores": machine_s / took_s,
        "memory": {
            "warm_s": WARM_PART * took_s,
            "rss_mib": resident,
            "anonymous_mib": anonymous,
            "growth_percent": report.growth_percent(resident),
            "peak_mib": max(one.rss_kib for one in run.samples) / 1024,
            "samples": [
                (round(s.at_s - first.at_s, 1), s.rss_kib, s.anonymous_kib, s.descriptors) for s in run.samples
            ],
        },
    }


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=10, help="how long the clients go on")
    parser.add_argument("--clients", type=int, default=200, help="how many at once")
    parser.add_argument(
        "--think", type=float, default=1, metavar="FACTOR", help="make all pauses longer, for a busy machine"
    )
    parser.add_argument("--growth", type=float, default=5, metavar="PERCENT", help="memory may grow by less than this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured there")
    return parser.parse_args()


def main() -> None:
    """The command."""
    chosen = arguments()
    key = f"sk-soak-REAL{secrets.token_urlsafe(21)}"  # as long as a stand-in: in a gRPC message lengths must not change
    try:
        allow_descriptors()
        with tempfile.TemporaryDirectory(prefix="briefcased-soak-") as name:
            command = [sys.executable, str(BENCH / "soak_provider.py"), name, key]
            with child(command, None) as provider:
                result = asyncio.run(soaked(Sidecar(Path(name), key), first_line(provider), chosen))
    except EXPECTED as error:
        sys.exit(f"soak: failed: {said(error)}")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(result, indent=1) + "\n")
    print(report.text(result))
    sys.exit(1 if result["failures"] else 0)


if __name__ == "__main__":
    main()
