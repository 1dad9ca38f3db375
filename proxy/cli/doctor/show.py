"""The doctor's report for people and for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.cli.doctor.report import Level, Row, Verdict
from proxy.cli.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.cli.doctor.report import Finding

WIDTH: Final = 120
STYLES: Final = {
    Verdict.WORKS: "green", Verdict.WORKS_WITH: "green", Verdict.CONFINED: "yellow", Verdict.CANNOT: "red",
    Verdict.ABSENT: "dim", Verdict.UNTRIED: "dim", Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red",
}  # fmt: skip
LAST_LINES: Final = 6


def as_value(findings: Sequence[Finding], rows: Sequence[Row]) -> dict[str, Any]:
    """For `--json`: `checks` and `clients`, as their classes in `report` are."""
    return {"checks": [asdict(finding) for finding in findings], "clients": [asdict(row) for row in rows]}


def show(findings: Sequence[Finding], rows: Sequence[Row], *, verbose: bool) -> None:
    """Print both tables."""
    console = Console(width=WIDTH, highlight=False, soft_wrap=False)
    if findings:
        console.print(_checks(findings))
    if rows:
        console.print(_clients(rows))
        absent = [row.client for row in rows if row.verdict is Verdict.ABSENT]
        if absent:
            console.print(f"not installed: {', '.join(absent)}", style="dim", markup=False)
    if verbose:
        for row in rows:
            _said(console, row)
    counts = Counter(finding.level for finding in findings)
    through = sum(row.verdict in (Verdict.WORKS, Verdict.WORKS_WITH) for row in rows)
    tried = sum(row.verdict not in (Verdict.ABSENT, Verdict.UNTRIED) for row in rows)
    console.print(
        f"checks: {counts[Level.OK]} ok, {counted(counts[Level.WARNING], 'warning')},"
        f" {counted(counts[Level.PROBLEM], 'problem')};"
        f" clients: {through} of {tried} get through"
    )


def _checks(findings: Sequence[Finding]) -> Table:
    table = Table(title="This machine", title_justify="left", box=None, pad_edge=False)
    for title in ("check", "", "what was found, and what to do"):
        table.add_column(title, overflow="fold")
    for finding in findings:
        text = Text(finding.text if not finding.remedy else f"{finding.text}\n-> {finding.remedy}")
        table.add_row(finding.check, Text(finding.level, STYLES[finding.level]), text)
    return table


def _clients(rows: Sequence[Row]) -> Table:
    table = Table(title="\nClients, as measured", title_justify="left", box=None, pad_edge=False)
    for title in ("client", "version", "verdict", "what it needs, and why"):
        table.add_column(title, overflow="fold")
    for row in rows:
        if row.verdict is not Verdict.ABSENT:
            told = ". ".join(part for part in (row.needs, "" if row.verdict is Verdict.WORKS else row.why) if part)
            table.add_row(Text(row.client), row.version, Text(row.verdict, STYLES[row.verdict]), Text(told))
    return table


def _said(console: Console, row: Row) -> None:
    for attempt in row.tried:
        given = f" with {attempt.needs}" if attempt.needs else ""
        console.print(f"\n{row.client}{given}: {attempt.seen}", markup=False, style="bold")
        for line in attempt.said.strip().splitlines()[-LAST_LINES:]:
            console.print(f"  {line}", markup=False)
