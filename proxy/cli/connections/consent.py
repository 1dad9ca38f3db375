"""`briefcased accounts consent`: let the secrets of an account go to places to which they could not go before."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from proxy.cli.check import CONFIG, ConfigOption
from proxy.errors import BriefcaseError
from proxy.secretstore.store import SecretUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.catalog.binding import BoundAccount
    from proxy.cli.connections.opened import Connections


def consent(
    account: Annotated[str, typer.Argument(help="PROVIDER, or PROVIDER/ACCOUNT as in the configuration.")],
    config: ConfigOption = CONFIG,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Let the secrets of an account go to new places, after a change of its profile or the configuration."""
    asyncio.run(_consent(config, account, yes))


async def _consent(config: Path, name: str, yes: bool) -> None:
    from proxy.cli.connections.opened import opened

    async with opened(config) as connections:
        account = connections.account(name)
        bindings = connections.services.bindings
        fingerprints = await _fingerprints(connections, account)
        new = bindings.pending(str(account.id), fingerprints, account.origins)
        if not new:
            sys.stdout.write(f"{account.id} needs no consent\n")
            return
        sys.stdout.write(f"the secrets of {account.id} could then go to\n" + "".join(f"  {o}\n" for o in sorted(new)))
        if not yes:
            if not sys.stdin.isatty():
                raise BriefcaseError("nobody can be asked here: add --yes if these places are right")
            typer.confirm("let them", abort=True)
        bindings.consent(str(account.id), fingerprints, account.origins)
        sys.stdout.write(f"consent for {account.id} is recorded; the next call uses it\n")


async def _fingerprints(connections: Connections, account: BoundAccount) -> frozenset[str]:
    """Those of the account's secrets. Raises `BriefcaseError` where one cannot be read: it would be left out."""
    try:
        secrets = [await connections.stores.get(ref) for ref in account.account.secrets.values()]
    except SecretUnavailableError as error:
        raise BriefcaseError(f"{account.id}: {error}") from None
    return connections.services.bindings.fingerprints(secrets)
