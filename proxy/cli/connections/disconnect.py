"""`briefcased disconnect`: the provider revokes what it granted, then it is forgotten here."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Final

import orjson
import typer

from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.connections.connect import AccountArgument, JsonOption, say
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.cli.connections.opened import Chosen, Connections
    from proxy.credentials.grants import Lease

ATTEMPTS: Final = 3
MAX_WAIT_S: Final = 60
LEASE_S: Final = 60.0
LOOK_S: Final = 0.1


def disconnect(
    account: AccountArgument,
    config: ConfigOption = CONFIG,
    only_here: Annotated[
        bool, typer.Option("--only-here", help="Forget it without asking the provider to revoke it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Have the provider revoke what it granted for an account, then forget it; a sidecar stops using it in seconds."""
    told = asyncio.run(_disconnect(config, account, only_here=only_here))
    if as_json:
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
        return
    revoked = told["revoked"]
    done = " and ".join(name.replace("_", " ") for name in revoked) if isinstance(revoked, list) else ""
    sys.stdout.write(f"disconnected {told['account']}; {f'revoked: {done}' if done else 'nothing was revoked'}\n")


async def _disconnect(config: Path, name: str, *, only_here: bool) -> dict[str, object]:
    from proxy.cli.connections.opened import opened
    from proxy.credentials.grants import in_thread

    async with opened(config) as connections:
        chosen = await connections.chosen(connections.account(name))
        grants, key = connections.services.grants, chosen.order.key
        granted = await in_thread(grants.read, key)
        if not granted.kept:
            await in_thread(grants.forget, key)
            raise BriefcaseError(f"{key.account} is not connected")
        lease = await _leased(connections, chosen)
        revoked: tuple[str, ...] = ()
        try:
            if not only_here:
                revoked = await _revoked(connections, chosen, lease)
        finally:
            await in_thread(grants.release, lease)
        await in_thread(grants.forget, key)
    return {"account": str(key.account), "credential": key.credential, "revoked": list(revoked)}


async def _leased(connections: Connections, chosen: Chosen) -> Lease:
    """Nobody refreshes from now on."""
    from proxy.credentials.grants import in_thread

    try:
        async with asyncio.timeout(LEASE_S):
            while (lease := await in_thread(connections.services.grants.lease, chosen.order.key)) is None:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
            return lease
    except TimeoutError:
        raise BriefcaseError(f"{chosen.order.account}: a sidecar is refreshing it; try again") from None


async def _revoked(connections: Connections, chosen: Chosen, lease: Lease) -> tuple[str, ...]:
    """What the provider has revoked. Raises `BriefcaseError`: it has not, and nothing is forgotten."""
    from proxy.credentials.kind import MintFailedError
    from proxy.credentials.oauth.places import places
    from proxy.credentials.oauth.revoke import revoke
    from proxy.credentials.oauth.state import Kept

    at = await connections.run(chosen, places(chosen.kind, connections.given(chosen, lease.granted)))
    if not at.revocation:
        say("the provider has no revocation endpoint; withdraw the access on its own page")
        return ()
    kept = Kept.read(lease.granted.kept)
    for attempt in range(1, ATTEMPTS + 1):
        given = connections.given(chosen, lease.granted)
        try:
            asking = revoke(chosen.kind, given, at, kept)
            return await connections.run(chosen, asking, passing=MintFailedError)
        except MintFailedError as failed:
            wait_s = failed.retry_after_s
            if wait_s is None or wait_s > MAX_WAIT_S or attempt == ATTEMPTS:
                raise BriefcaseError(
                    f"{chosen.order.account}: {failed.denial.detail} It is still connected;"
                    " --only-here forgets it all the same"
                ) from None
            say(f"the provider is busy; asking again in {wait_s} s")
            await asyncio.sleep(wait_s)
    return ()
