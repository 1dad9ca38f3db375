"""`briefcased policy`: read the policies, try them before they bite, and go back to earlier ones."""

from __future__ import annotations

import typer

from proxy.cli.policy.explain import explain
from proxy.cli.policy.fixtures import test
from proxy.cli.policy.reading import check, presets, show

app = typer.Typer(help="Policies: what is in force, and what they would say.", no_args_is_help=True)
for command in (check, show, presets, explain, test):
    app.command(command.__name__)(command)
