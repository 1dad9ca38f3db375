"""`briefcased doctor`: what this machine lacks, and which of its programs get through the sidecar. By trying."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import orjson
import typer

from proxy import logs
from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.confinement import FromHere, StateDirs, Targets, WriteTo, confinement, parsed
from proxy.cli.doctor.client import Mode
from proxy.confine.probe.plan import TIMEOUT_S
from proxy.errors import BriefcaseError
from proxy.settings import environment, home

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.cli.doctor.client import Client
    from proxy.cli.doctor.report import Row

NOTHING: Final = "none"
CLIENT_TIMEOUT_S: Final = 20.0


def doctor(
    only: Annotated[
        str | None,
        typer.Option(help="Only clients whose name begins so, as in curl,node; `none` tries none.", metavar="NAMES"),
    ] = None,
    mode: Annotated[
        Mode,
        typer.Option(
            help="How clients are brought to the sidecar: its variables, a base URL, redirected, or confined."
        ),
    ] = Mode.VARIABLES,
    timeout: Annotated[
        float | None,
        typer.Option(min=0.05, max=600, help="Seconds for each attempt: 20 for a client, 3 for a way out."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the last lines of every program, scrubbed.")] = False,
    config: ConfigOption = CONFIG,
    check_confinement: Annotated[
        bool,
        typer.Option("--confinement", help="Check only that the sidecar is the agent's only way out."),
    ] = False,
    from_here: FromHere = False,
    target: Targets = None,
    state_dir: StateDirs = None,
    write: WriteTo = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check this machine, and try every client on it with a real call through a temporary sidecar."""
    if check_confinement:
        raise typer.Exit(
            confinement(
                from_here=from_here,
                write=write,
                as_json=as_json,
                targets=parsed(target or ()),
                state=tuple(path.absolute() for path in state_dir or ()),
                timeout_s=timeout or TIMEOUT_S,
            )
        )
    from proxy.cli.doctor.checks import Situation, findings
    from proxy.cli.doctor.report import Level
    from proxy.cli.doctor.show import as_value, show

    logs.configure(level="ERROR")
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # end tidily, as Ctrl-C does
    clients = chosen(only)
    found = findings(Situation(home=home(), environment=environment(), config=config))
    rows = asyncio.run(_rows(clients, timeout or CLIENT_TIMEOUT_S, mode)) if clients else []
    if as_json:
        sys.stdout.write(orjson.dumps(as_value(found, rows), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        show(found, rows, verbose=verbose)
    raise typer.Exit(1 if any(f.level is Level.PROBLEM for f in found) or nobody_gets_through(rows) else 0)


def chosen(only: str | None) -> tuple[Client, ...]:
    """The clients to try, in the order of the table. Raises `BriefcaseError` for a name that fits none."""
    from proxy.cli.doctor.clients import CLIENTS

    if only is None:
        return CLIENTS
    wanted = [word.strip().lower() for word in only.split(",") if word.strip()]
    if wanted == [NOTHING]:
        return ()
    for word in wanted:
        if not any(_named(client, word) for client in CLIENTS):
            raise BriefcaseError(f"--only {word}: the doctor knows no such client")
    return tuple(client for client in CLIENTS if any(_named(client, word) for word in wanted))


def _named(client: Client, word: str) -> bool:
    """By the beginning of the name, or of one of its words: `python`, `requests`."""
    return client.name.lower().startswith(word) or word in client.name.lower().split()


def nobody_gets_through(rows: Sequence[Row]) -> bool:
    """Whether clients were tried and not one works: then the sidecar, not a client, is what fails."""
    from proxy.cli.doctor.report import Verdict

    tried = [row for row in rows if row.verdict not in (Verdict.ABSENT, Verdict.UNTRIED)]
    return bool(tried) and all(row.verdict is Verdict.CANNOT for row in tried)


async def _rows(clients: Sequence[Client], timeout_s: float, mode: Mode) -> list[Row]:
    from proxy.cli.doctor.laboratory import confinement_works, laboratory
    from proxy.cli.doctor.trial import tried

    attempts = sum(len(client.ways) for client in clients)
    with tempfile.TemporaryDirectory(prefix="briefcased-doctor-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if mode is Mode.CONFINED and not await confinement_works():
            raise BriefcaseError("no program can be confined here; the check `confined mode` says why")
        async with laboratory(folder, attempts=attempts) as place:
            return await tried(
                clients, place, folder=folder, operators=environment(), limit_s=timeout_s, at_once=at_once(), mode=mode
            )


def at_once() -> int:
    """How many programs run at a time: one per core, two at least, eight at most."""
    return min(max(os.cpu_count() or 1, 2), 8)
