"""`briefcased policy`: read the policies, try them before they bite, and go back to earlier ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from proxy.cli.policy.confirming import confirm, pending, sign
from proxy.cli.policy.explain import explain
from proxy.cli.policy.fixtures import try_file
from proxy.cli.policy.reading import check, presets, show
from proxy.cli.policy.rollout import rollout
from proxy.cli.policy.simulate import simulate
from proxy.cli.policy.versions import diff, history, rollback

if TYPE_CHECKING:
    from collections.abc import Callable

COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "check": check,
    "show": show,
    "presets": presets,
    "explain": explain,
    "test": try_file,
    "simulate": simulate,
    "history": history,
    "diff": diff,
    "rollback": rollback,
    "rollout": rollout,
    "pending": pending,
    "confirm": confirm,
    "sign": sign,
}

app = typer.Typer(help="Policies: what is in force, and what they would say.", no_args_is_help=True)
for name, command in COMMANDS.items():
    app.command(name)(command)
