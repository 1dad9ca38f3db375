"""`briefcased agents`: who may use the sidecar."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from proxy.cli.agent_tokens import narrow, token
from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.recorded import record
from proxy.cli.words import counted
from proxy.clock import SystemClock
from proxy.errors import BriefcaseError
from proxy.settings import home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

app = typer.Typer(help="Agents and their tokens.", no_args_is_help=True)
app.command("token")(token)
app.command("narrow")(narrow)
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON value.")]
DAY_MS = 86_400_000


@contextlib.contextmanager
def database() -> Iterator[Engine]:
    """The state database, closed at the end."""
    from proxy.db.engine import DATABASE, open_database

    engine = open_database(home() / DATABASE)
    try:
        yield engine
    finally:
        engine.dispose()


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, - and _.")],
    accounts: Annotated[
        list[str] | None,
        typer.Option("--account", "-a", help="provider/account, provider/* or *; may be repeated."),
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose it is, where tenants are declared.")] = None,
    groups: Annotated[list[str] | None, typer.Option("--group", help="A group it is in; may be repeated.")] = None,
    users: Annotated[
        list[str] | None, typer.Option("--user", help="On whose behalf it may act; may be repeated.")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="The token expires after this many days.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Add an agent, or a further token for one that exists; the token is shown once."""
    clock = SystemClock()
    expires_at_ms = None if days is None else clock.wall_ms() + days * DAY_MS
    from proxy.identity import store

    with database() as engine:
        record(engine, "agent_add", name, tenant=tenant, accounts=" ".join(accounts or ()) or None)
        said = tenant is not None or groups or users
        belongs = store.Belongs(tenant, tuple(groups or ()), tuple(users or ())) if said else None
        made = store.add_agent(
            engine, name, tuple(accounts or ()), clock=clock, expires_at_ms=expires_at_ms, belongs=belongs
        )
    if as_json:
        sys.stdout.write(orjson.dumps({"agent": name, "token": made}).decode() + "\n")
        return
    sys.stdout.write(f"{made}\n")
    sys.stderr.write(f"This is the only time the token of {name} is shown.\nProxy URL: http://agent:TOKEN@HOST:PORT\n")


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the agents; tokens cannot be shown, only their digests are kept."""
    from proxy.identity import store

    with database() as engine:
        rows, tokens = store.list_agents(engine), store.valid_tokens(engine)
    counts = {row.name: sum(token.agent == row.name for token in tokens) for row in rows}
    if as_json:
        listed = [
            {
                "agent": r.name,
                "accounts": r.accounts,
                "tenant": r.tenant,
                "groups": r.groups,
                "users": r.users,
                "tokens": counts[r.name],
                "revoked": r.revoked_at_ms is not None,
            }
            for r in rows
        ]
        sys.stdout.write(orjson.dumps(listed).decode() + "\n")
        return
    for row in rows:
        state = "revoked" if row.revoked_at_ms is not None else counted(counts[row.name], "token")
        since = datetime.fromtimestamp(row.created_at_ms / 1000, UTC).strftime("%Y-%m-%d")
        sys.stdout.write(
            f"{row.name:<20} {state:<10} since {since}  {' '.join(row.accounts) or '(by configuration)'}\n"
        )


@app.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="The agent's name.")],
    task_token: Annotated[
        str | None, typer.Option("--token", help="Only this task token, or its id, and what was narrowed from it.")
    ] = None,
    config: ConfigOption = CONFIG,
) -> None:
    """Revoke an agent with all its tokens, or one task token; a running sidecar notices within a second."""
    from proxy.identity import store

    if task_token is not None:
        asyncio.run(_revoke_token(config, name, task_token))
        return
    with database() as engine:
        record(engine, "agent_revoke", name)
        done = store.revoke_agent(engine, name, clock=SystemClock())
        if not done and config.exists():  # it may be the configuration's alone
            from proxy.catalog.configuration import load_configuration

            named = load_configuration(config).settings.agents.get(name)
            done = store.revoke_agent(engine, name, clock=SystemClock(), named=named)
        if not done:
            raise BriefcaseError(f"there is no agent named {name} that is not revoked")
    sys.stdout.write(f"revoked {name}\n")


async def _revoke_token(config: Path, name: str, text: str) -> None:
    from proxy.cli.shared_state import shared_state
    from proxy.identity import locks
    from proxy.identity.tasks import revocable

    try:
        one = revocable(text)
    except ValueError as error:
        raise BriefcaseError(str(error)) from None
    async with shared_state(config) as state:
        key = (locks.TOKEN, one)
        locks.lock(state.shared, [key], reason=f"a task token of {name}", by=getpass.getuser(), clock=state.clock)
    sys.stdout.write(f"revoked task_{one}\n")
