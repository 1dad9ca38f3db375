"""`briefcased receipts`: what happened."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from proxy.cli.agents import JsonOption, database
from proxy.cli.words import counted
from proxy.errors import BriefcaseError
from proxy.settings import home

if TYPE_CHECKING:
    from proxy.receipts.queries import Call

app = typer.Typer(help="What happened: decisions and outcomes.", no_args_is_help=True)
LOOK_S = 0.5


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="At most so many, the newest.")] = 50,
    chain: Annotated[str | None, typer.Option(help="Only this chain.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only this agent.")] = None,
    refused: Annotated[bool, typer.Option("--refused", help="Only refusals.")] = False,
    observed: Annotated[
        bool, typer.Option("--observed", help="Only what observed policies would have refused or had approved.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List calls, oldest first."""
    from proxy.receipts import queries

    with database() as engine:
        found = queries.recent(engine, limit=limit, chain=chain, agent=agent, refused=refused, observed=observed)
        _print(found, as_json=as_json)


@app.command("show")
def show(
    receipt: Annotated[str, typer.Argument(help="A receipt id, as in the Briefcased-Receipt header.")],
    as_json: JsonOption = False,
) -> None:
    """Show one call: its decision and its outcome."""
    from proxy.receipts import queries

    with database() as engine:
        call = queries.one(engine, receipt)
    if call is None:
        raise BriefcaseError(f"there is no receipt {receipt}")
    if as_json:
        sys.stdout.write(orjson.dumps(_value(call), option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    for title, fields in (("decision", call.decision), ("outcome", call.outcome or {"outcome": "not ended"})):
        sys.stdout.write(f"{title}\n")
        sys.stdout.writelines(f"  {name:<16} {value}\n" for name, value in fields.items() if value is not None)


@app.command("tail")
def tail(as_json: JsonOption = False) -> None:
    """Follow calls as they are decided; end with Ctrl-C."""
    from proxy.receipts import queries

    with database() as engine:
        newest = queries.recent(engine, limit=1)
        row = newest[-1].row if newest else 0
        while True:
            calls = queries.after(engine, row)
            _print(calls, as_json=as_json)
            sys.stdout.flush()
            row = calls[-1].row if calls else row
            time.sleep(LOOK_S)


@app.command("verify")
def verify(as_json: JsonOption = False) -> None:
    """Check that nothing was changed, dropped, reordered or cut off, and that every allowed call has its end."""
    from proxy.receipts import queries

    with database() as engine:
        report = queries.verify_database(engine, home())
    if as_json:
        value = {"ok": not report.problems, "chains": report.chains, "records": report.records,
                 "calls": report.calls, "problems": report.problems}  # fmt: skip
        sys.stdout.write(orjson.dumps(value).decode() + "\n")
    elif report.problems:
        sys.stdout.writelines(f"{problem}\n" for problem in report.problems)
        sys.stdout.write(f"receipts verify: {counted(len(report.problems), 'problem')}\n")
    else:
        sums = (counted(report.calls, "call"), counted(report.records, "record"), counted(report.chains, "chain"))
        sys.stdout.write(f"receipts verify: ok ({', '.join(sums)})\n")
    raise typer.Exit(1 if report.problems else 0)


def _value(call: Call) -> dict[str, Any]:
    return {"decision": call.decision, "outcome": call.outcome}


def _print(calls: list[Call], *, as_json: bool) -> None:
    for call in calls:
        sys.stdout.write((orjson.dumps(_value(call)).decode() if as_json else line(call)) + "\n")


def line(call: Call) -> str:
    """One call on one line."""
    decision, outcome = call.decision, call.outcome or {}
    when = datetime.fromtimestamp(decision["at_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    target = f"{decision.get('host') or '-'}{decision.get('path') or ''}"
    if decision["decision"] == "deny":
        end = f"refused {decision['slug']}"
    else:
        end = f"{outcome.get('status') or '-'} {outcome.get('outcome', 'under way')}"
    if decision.get("observed"):
        end += f" (observed: {decision['observed']})"
    if decision.get("candidate"):
        end += f" (candidate: {decision['candidate']})"
    who = decision.get("account") or "-"
    return (
        f"{when} {decision['id']} {decision['agent']:<10} {decision.get('method') or 'CONNECT':<7} {target} {who} {end}"
    )
