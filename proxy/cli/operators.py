"""`briefcased operators`: who administers the sidecar, on its state directory; and logins, at its control API."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from proxy.cli.agents import JsonOption, database
from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.operator_sessions import login, logout, sessions, whoami
from proxy.cli.recorded import record
from proxy.clock import SystemClock
from proxy.errors import BriefcaseError
from proxy.model import Role

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.identity.operators import Issued

app = typer.Typer(help="Operators, their tokens, and logins.", no_args_is_help=True)
for name_, command in (("login", login), ("logout", logout), ("whoami", whoami)):
    app.command(name_)(command)
app.add_typer(sessions, name="sessions")
NameArgument = Annotated[str, typer.Argument(help="Lower-case letters, digits, - and _.")]
HoursOption = Annotated[int, typer.Option(min=1, max=2160, help="The token expires after so many hours.")]


@app.command("add")
def add(
    name: NameArgument,
    role: Annotated[Role, typer.Option(help="What they may do.")],
    tenant: Annotated[
        str | None, typer.Option(help="The only tenant that they see and change; all unless said.")
    ] = None,
    hours: HoursOption = 12,
    as_json: JsonOption = False,
) -> None:
    """Add an operator; the token is shown once."""
    from proxy.identity import operators

    with database() as engine:
        record(engine, "operator_add", name, role=role.value, tenant=tenant)
        issued = operators.add_operator(engine, name, role, clock=SystemClock(), tenant=tenant, hours=hours)
    _show(name, issued, as_json=as_json)


@app.command("token")
def token(
    name: NameArgument,
    role: Annotated[
        Role | None, typer.Option(help="A lesser role for this token; the operator's own unless said.")
    ] = None,
    hours: HoursOption = 12,
    as_json: JsonOption = False,
) -> None:
    """Give an operator a further token."""
    from proxy.identity import operators

    with database() as engine:
        record(engine, "operator_token", name, role=role.value if role is not None else None)
        issued = operators.add_token(engine, name, clock=SystemClock(), role=role, hours=hours)
    _show(name, issued, as_json=as_json)


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the operators; tokens cannot be shown, only their digests are kept."""
    from proxy.identity import operators

    with database() as engine:
        rows = operators.list_operators(engine)
    if as_json:
        listed = [
            {"name": r.name, "role": r.role.value, "tenant": r.tenant, "revoked": r.revoked_at_ms is not None}
            for r in rows
        ]
        sys.stdout.write(orjson.dumps(listed).decode() + "\n")
        return
    for row in rows:
        state = "revoked" if row.revoked_at_ms is not None else row.role.value
        sys.stdout.write(f"{row.name:<20} {state:<10} {row.tenant or '(all tenants)'}\n")


@app.command("revoke")
def revoke(name: NameArgument, config: ConfigOption = CONFIG) -> None:
    """Revoke an operator with all tokens, the keys that they sign with, their votes and standing grants, at once."""
    from proxy.identity import operators

    with database() as engine:
        record(engine, "operator_revoke", name)
        row = next((one for one in operators.list_operators(engine) if one.name == name), None)
        revoked = operators.revoke_operator(engine, name, clock=SystemClock())
    try:
        left = row is not None and asyncio.run(_dismiss(config, name, row.tenant))
    except BriefcaseError as error:
        told = f"{name} has no token any more, but keys, votes and grants stay until you run this again"
        raise BriefcaseError(f"{told}: {error}") from None
    if not revoked and not left:
        raise BriefcaseError(f"there is no operator named {name} that is not revoked")
    sys.stdout.write(f"revoked {name}\n")


async def _dismiss(config: Path, name: str, tenant: str | None) -> bool:
    """End what speaks for an operator who was revoked, where sidecars share it; whether there was anything."""
    from proxy.approval.key_store import ApproverKeys
    from proxy.cli.shared_state import shared_state

    async with shared_state(config) as state:
        keys = ApproverKeys(state.shared, state.clock)
        mine = keys.of(name, tenant=tenant)
        for id_ in mine:
            keys.revoke(id_, by="local")
        return keys.dismiss(name, tenant=tenant, by="local") or bool(mine)


def _show(name: str, issued: Issued, *, as_json: bool) -> None:
    if as_json:
        value = {"name": name, "token": issued.token, "expires_at_ms": issued.expires_at_ms}
        sys.stdout.write(orjson.dumps(value).decode() + "\n")
        return
    until = datetime.fromtimestamp(issued.expires_at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    sys.stdout.write(f"{issued.token}\n")
    sys.stderr.write(f"This is the only time the token of {name} is shown. It expires {until}.\n")
