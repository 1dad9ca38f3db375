"""`briefcased secrets captured`: what was taken out of replies, and how it is let go. Values are never shown."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.connect import JsonOption, moment
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.credentials.grants import GrantKey

app = typer.Typer(help="Secrets and logins that were taken out of replies.", no_args_is_help=True)
type Row = dict[str, str | None]


@app.command("list")
def list_(config: ConfigOption = CONFIG, as_json: JsonOption = False) -> None:
    """List captured secrets, and the logins of agents; values are never shown."""
    rows = asyncio.run(_rows(config))
    if as_json:
        sys.stdout.write(orjson.dumps(rows).decode() + "\n")
        return
    widths = {"id": 34, "kind": 7, "agent": 16, "account": 24, "slot": 16, "at": 1}
    for row in rows:
        sys.stdout.write(" ".join(f"{row[name] or '-':<{width}}" for name, width in widths.items()) + "\n")


@app.command("rm")
def remove(
    name: Annotated[str, typer.Argument(metavar="ID", help="As the list shows it.")], config: ConfigOption = CONFIG
) -> None:
    """Let one go; running sidecars refuse it within seconds. The provider is not told: revoke it there."""
    asyncio.run(_remove(config, name))
    sys.stdout.write(f"removed {name}; at the provider it may still be good\n")


async def _rows(config: Path) -> list[Row]:
    from proxy.cli.connections.opened import opened
    from proxy.db.threads import in_thread

    async with opened(config) as connections:
        keeper = connections.services.keeper
        listed = await in_thread(keeper.listed)
        secrets: list[Row] = [
            {
                "id": one.id, "kind": "secret", "agent": one.agent, "account": one.account, "slot": one.slot,
                "receipt": one.receipt, "at": moment(str(one.created_at_ms // 1000)),
            }
            for one in listed
        ]  # fmt: skip
        return secrets + [_login(key) for key in await connections.logins()]


def _login(key: GrantKey) -> Row:
    return {
        "id": str(key), "kind": "login", "agent": key.agent, "account": str(key.account), "slot": key.credential,
        "receipt": None, "at": None,
    }  # fmt: skip


async def _remove(config: Path, name: str) -> None:
    """Raises `BriefcaseError`: there is no such one."""
    from proxy.cli.connections.opened import opened
    from proxy.db.threads import in_thread

    async with opened(config) as connections:
        services = connections.services
        login = next((key for key in await connections.logins() if str(key) == name), None)
        if login is not None:
            removed = await in_thread(services.grants.forget, login)
        else:
            removed = await in_thread(services.keeper.remove, name)
        if not removed:
            raise BriefcaseError(f"nothing that was captured has the id {name}; see: briefcased secrets captured list")
