"""`briefcased`: one file per command; a new command is its file and one line here."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from proxy import __version__
from proxy.cli import (
    agents,
    ca,
    check,
    demo,
    doctor,
    env,
    health,
    init,
    keys,
    receipts,
    redirect,
    reload,
    run,
    secrets,
    stand_ins,
    up,
)
from proxy.cli.child import ChildError
from proxy.cli.connections import accounts, connect, disconnect
from proxy.cli.words import counted
from proxy.errors import BriefcaseError, ConfigError

# The engine takes a second to load: commands import `proxy.app`, and what needs it, where they use it.
app = typer.Typer(
    name="briefcased",
    help="A credential-injecting forward proxy for AI agents: the agent never holds a token.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("up")(up.up)
app.command("init")(init.init)
app.command("check")(check.check)
app.command("reload")(reload.reload)
app.command("health")(health.health)
app.command("env")(env.env)
app.command("stand-ins")(stand_ins.stand_ins)
app.command("redirect")(redirect.redirect)
app.command("connect")(connect.connect)
app.command("disconnect")(disconnect.disconnect)
app.command("accounts")(accounts.accounts)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.add_typer(agents.app, name="agents")
app.add_typer(secrets.app, name="secrets")
app.add_typer(keys.app, name="keys")
app.add_typer(receipts.app, name="receipts")
app.add_typer(ca.app, name="ca")

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"briefcased {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """The entry point. Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted; `run` returns its child's."""
    try:
        app()
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
