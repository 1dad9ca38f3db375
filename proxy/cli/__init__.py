"""`briefcased`: one file per command; a new command is its file and one line here."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from proxy import __version__
from proxy.cli.child import ChildError
from proxy.cli.words import counted
from proxy.errors import BriefcaseError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMANDS: Final[Mapping[str, str]] = {
    "run": "run",
    "up": "up",
    "init": "init",
    "check": "check",
    "reload": "reload",
    "health": "health",
    "env": "env",
    "stand-ins": "stand_ins",
    "redirect": "redirect",
    "connect": "connect",
    "disconnect": "disconnect",
    "accounts": "accounts",
    "demo": "demo",
    "doctor": "doctor",
    "policy": "policy",
    "agents": "agents",
    "operators": "operators",
    "approvals": "approvals",
    "lock": "lock",
    "unlock": "unlock",
    "credentials": "credentials",
    "secrets": "secrets",
    "keys": "keys",
    "budgets": "budgets",
    "receipts": "receipts",
    "ca": "ca",
}
"""Commands by name, each with its module: a function of the module's own name, or `app`, a group of commands."""

VERSION = "--version"
FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"briefcased {__version__}\n")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option(VERSION, callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


def application(asked: str | None = None) -> typer.Typer:
    """The command line, with what the first argument `asked` needs: one command, or all where none has this name.

    What a command needs takes a part of a second to load, the engine a whole one: commands import `proxy.app`, and what
    needs it, where they use it.
    """
    app = typer.Typer(
        name="briefcased",
        help="A credential-injecting forward proxy for AI agents: the agent never holds a token.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name, file in COMMANDS.items():
        if asked == VERSION or (asked in COMMANDS and name != asked):
            continue
        module = importlib.import_module(f"proxy.cli.{file}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, file))
    return app


def main() -> None:
    """The entry point. Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted; `run` returns its child's."""
    try:
        application(sys.argv[1] if len(sys.argv) > 1 else None)(prog_name="briefcased")
    except ConfigError as error:
        sys.stderr.write(f"{error}\n{counted(len(error.findings), 'mistake')} found\n")
        sys.exit(BAD_INPUT)
    except ChildError as error:
        sys.stderr.write(f"briefcased: {error}\n")
        sys.exit(error.exit_code)
    except BriefcaseError as error:
        sys.stderr.write(f"briefcased: {error}\n")
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
