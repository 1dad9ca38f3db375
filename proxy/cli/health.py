"""`briefcased health`: is the running sidecar ready? Without options `proxy/health.py` answers at once."""

from __future__ import annotations

import sys
from typing import Annotated

import orjson
import typer

from proxy.errors import BriefcaseError
from proxy.health import LIVE_PATH, READY, READY_PATH, Unhealthy, ask, said
from proxy.settings import home


def health(
    live: Annotated[bool, typer.Option("--live", help="Ask whether it runs, not whether it is ready.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The control listener's answer as one JSON object.")] = False,
) -> None:
    """Ask the sidecar of this state directory whether it is ready. Exit code 1 where it is not, or does not answer."""
    try:
        status, answer = ask(str(home()), LIVE_PATH if live else READY_PATH)
    except Unhealthy as error:
        raise BriefcaseError(str(error)) from None
    if as_json:
        sys.stdout.write(orjson.dumps(answer).decode() + "\n")
    else:
        sys.stdout.write("running\n" if live and status == READY else f"{said(answer)}\n")
    if status != READY:
        raise typer.Exit(1)
