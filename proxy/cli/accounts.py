"""`briefcased accounts`: every account of the configuration, and whether it can be used."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import orjson
import typer

from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.connect import JsonOption, moment
from proxy.cli.connections.consent import consent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proxy.catalog.binding import BoundAccount
    from proxy.cli.connections.opened import Connections

app = typer.Typer(
    invoke_without_command=True, help="List accounts with their state; `consent` lets secrets go to new places."
)
app.command("consent")(consent)
type Row = dict[str, str | bool | None]


@app.callback()
def accounts(context: typer.Context, config: ConfigOption = CONFIG, as_json: JsonOption = False) -> None:
    """List accounts with their state: configured, connected, not_connected, broken or incomplete."""
    if context.invoked_subcommand is not None:
        return
    rows = asyncio.run(_rows(config))
    if as_json:
        sys.stdout.write(orjson.dumps(rows).decode() + "\n")
        return
    for row in rows:
        sys.stdout.write(
            f"{row['account']:<28} {row['credential'] or '-':<16} {row['state']:<14} {_more(row)}".rstrip() + "\n"
        )


def _more(row: Row) -> str:
    if row["state"] != "connected":
        return str(row["reason"] or "")
    if row["refreshes"]:
        return f"refreshed when needed; token until {row['expires_at']}"
    return "does not expire" if row["expires_at"] is None else f"until {row['expires_at']}"


async def _rows(config: Path) -> list[Row]:
    from proxy.cli.connections.opened import opened

    async with opened(config) as connections:
        return [row for account in connections.accounts() for row in _of(connections, account)]


def _of(connections: Connections, account: BoundAccount) -> Iterator[Row]:
    """One row for each credential that the account has all secrets and variables for; at least one."""
    from proxy.cli.connections.opened import people_connect
    from proxy.credentials.vc.kind import VcCredential

    secrets, variables, found = account.account.secrets.keys(), account.variables.keys(), False
    connectable = people_connect(account)
    for name in account.account.credentials or tuple(account.profile.credentials):
        kind = account.profile.credentials[name]
        if kind.secret_names() <= secrets and kind.variable_names() <= variables:
            found = True
            received = isinstance(kind, VcCredential) and kind.secret is None
            how = f"briefcased connect {account.id}" if name in connectable else None
            how = f"briefcased credentials receive OFFER --account {account.id}" if received else how
            yield _complete(connections, account, name, how)
    if not found:
        yield _row(account, None, "incomplete", reason="no credential has all its secrets and variables")


def _complete(connections: Connections, account: BoundAccount, name: str, how: str | None) -> Row:
    """A credential that has all that the configuration can give it; `how` a person adds the rest, if one does."""
    from proxy.credentials.grants import Granted, GrantKey
    from proxy.db.sealing import UnsealError

    lasts = account.profile.credentials[name].durable
    try:
        granted = connections.services.grants.read(GrantKey(account.id, name)) if lasts else Granted()
    except UnsealError:
        return _row(account, name, "broken", reason="sealed with another key")
    if granted.broken is not None:
        return _row(account, name, "broken", reason=granted.broken)
    if how is None:
        return _row(account, name, "configured")
    if not granted.kept:
        return _row(account, name, "not_connected", reason=how)
    kept = granted.kept
    row = _row(account, name, "connected", scope=kept.get("scope") or None, expires_at=moment(kept.get("expires_at_s")))
    return {**row, "refreshes": bool(kept.get("refresh_token"))}


def _row(
    account: BoundAccount,
    name: str | None,
    state: str,
    *,
    reason: str | None = None,
    scope: str | None = None,
    expires_at: str | None = None,
) -> Row:
    return {
        "account": str(account.id),
        "credential": name,
        "state": state,
        "scope": scope,
        "expires_at": expires_at,
        "refreshes": False,
        "reason": reason,
    }
