"""`briefcased doctor --confinement`: is the sidecar the only way out?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from proxy.cli.words import counted
from proxy.clock import SystemClock
from proxy.confine.probe.check import probe
from proxy.confine.probe.plan import TIMEOUT_S, Plan
from proxy.confine.probe.report import ConfinementReport, NoReportError, parse_report, write_report
from proxy.confine.probe.ways import WAYS, State, Target, parse_target, state_of
from proxy.errors import BriefcaseError
from proxy.settings import environment, home

if TYPE_CHECKING:
    from collections.abc import Iterable

USUAL_STATE: Final = (Path("/var/lib/briefcased"), Path("/data/briefcased"))
CHILD_TIMEOUT_S: Final = 180
SUMMARY: Final = {State.OPEN: "OPEN", State.CLOSED: "closed", State.UNKNOWN: "unknown"}

FromHere = Annotated[
    bool, typer.Option("--from-here", help="With --confinement: this process's surroundings, as the agent has them.")
]
Targets = Annotated[
    list[str] | None,
    typer.Option("--target", help="With --confinement: an address outside that answers.", metavar="HOST:PORT"),
]
StateDirs = Annotated[
    list[Path] | None,
    typer.Option("--state-dir", help="With --confinement: where the sidecar keeps its state."),
]
WriteTo = Annotated[
    Path | None, typer.Option("--write", help="With --confinement: write the report to this file, as a whole.")
]


def parsed(targets: Iterable[str]) -> tuple[Target, ...]:
    """What `--target` names. Raises `typer.BadParameter`."""
    try:
        return tuple(parse_target(text) for text in targets)
    except ValueError:
        raise typer.BadParameter("--target is an address and a port: 192.0.2.1:443 or [2001:db8::1]:443") from None


def confinement(
    *,
    from_here: bool,
    write: Path | None,
    as_json: bool,
    targets: tuple[Target, ...] = (),
    state: tuple[Path, ...] = (),
    timeout_s: float = TIMEOUT_S,
) -> int:
    """Run the check, print and write its report; the exit code: 0 nothing is open, 1 something is.

    Without `from_here` a confined child is started and the check runs inside it.

    Raises:
        BriefcaseError: no Linux, the child fails, or the report cannot be written.
    """
    if sys.platform != "linux":
        raise BriefcaseError("the confinement check needs Linux")
    if from_here:
        folders = tuple(dict.fromkeys((home(), *USUAL_STATE, *state)))
        plan = Plan(environment=environment(), state=folders, targets=targets, timeout_s=timeout_s)
        report = ConfinementReport.of(probe(plan), made_at_ms=SystemClock().wall_ms())
    else:
        report = _from_a_confined_child(targets, (home(), *state), timeout_s)
    if write is not None:
        write_report(write, report)
    if as_json:
        sys.stdout.write(report.model_dump_json() + "\n")
    else:
        sys.stdout.write(_table(report))
    return int(any(entry.state is State.OPEN for entry in report.attempts))


def _from_a_confined_child(targets: tuple[Target, ...], state: tuple[Path, ...], timeout_s: float) -> ConfinementReport:
    """What `briefcased run --confine` encloses, seen from inside. It tries the operator's own state directory too."""
    ours = [sys.executable, "-m", "proxy"]
    inside = [*ours, "doctor", "--confinement", "--from-here", "--json", "--timeout", str(timeout_s)]
    inside += [word for target in targets for word in ("--target", str(target))]
    inside += [word for folder in state for word in ("--state-dir", str(folder))]
    try:
        done = subprocess.run(  # noqa: S603
            [*ours, "run", "--confine", "--", *inside], stdout=subprocess.PIPE, timeout=CHILD_TIMEOUT_S, check=False
        )
        return parse_report(done.stdout)
    except subprocess.TimeoutExpired:
        raise BriefcaseError("the confined child did not end") from None
    except NoReportError:
        raise BriefcaseError("the confined child made no report; what it said stands above") from None


def _printable(text: str) -> str:
    """Names of sockets are chosen by others: nothing of them may steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _table(report: ConfinementReport) -> str:
    """One line for each way with what was seen, and one that sums up."""
    attempts = report.tried()
    lines = []
    for way, meaning in WAYS.items():
        state = state_of(way, attempts)
        shown = [f"{_printable(a.target)} {a.seen}" for a in attempts if a.way == way and a.state is state]
        more = f" and {len(shown) - 2} more" if len(shown) > 2 else ""  # noqa: PLR2004  # two fit on a line
        lines.append(f"{SUMMARY[state]:<8} {way:<20} {meaning}: {', '.join(shown[:2])}{more}")
    states = [state_of(way, attempts) for way in WAYS]
    lines.append(
        f"confinement: {counted(states.count(State.OPEN), 'way')} open, {states.count(State.UNKNOWN)} unknown,"
        f" {states.count(State.CLOSED)} closed"
    )
    return "\n".join(lines) + "\n"
