"""`briefcased disconnect`: the provider revokes what it granted, then it is forgotten here."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Final

import orjson
import typer

from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.connect import AccountArgument, JsonOption, say
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.catalog.binding import BoundAccount
    from proxy.cli.connections.opened import Chosen, Connections
    from proxy.credentials.grants import GrantKey, Lease
    from proxy.credentials.oauth.places import Places

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
    from proxy.db.threads import in_thread

    async with opened(config) as connections:
        account = connections.account(name)
        if only_here:
            return await _only_forgotten(connections, account)
        chosen = await connections.chosen(account)
        key = chosen.order.key
        if not (await in_thread(connections.services.grants.read, key)).kept:
            raise BriefcaseError(f"{key.account} is not connected")
        return _told(key, await _revoked_and_forgotten(connections, chosen))


async def _only_forgotten(connections: Connections, account: BoundAccount) -> dict[str, object]:
    """Needs no secret and no consent: whatever is wrong with either, an operator can stop the use of an account."""
    from proxy.cli.connections.opened import people_connect
    from proxy.credentials.grants import GrantKey
    from proxy.db.threads import in_thread

    keys = [GrantKey(account.id, credential) for credential in people_connect(account)]
    gone = [key for key in keys if await in_thread(connections.services.grants.forget, key)]
    if not gone:
        raise BriefcaseError(f"{account.id} is not connected")
    return _told(gone[0], ())


def _told(key: GrantKey, revoked: tuple[str, ...]) -> dict[str, object]:
    return {"account": str(key.account), "credential": key.credential, "revoked": list(revoked)}


async def _revoked_and_forgotten(connections: Connections, chosen: Chosen) -> tuple[str, ...]:
    """What the provider has revoked. Raises `BriefcaseError`: it has not, and nothing is forgotten."""
    from proxy.credentials.grants import Granted
    from proxy.credentials.kind import MintFailedError
    from proxy.credentials.oauth.places import places

    at = await connections.run(chosen, places(chosen.kind, connections.given(chosen, Granted())))
    if not at.revocation:
        say("the provider has no revocation endpoint; withdraw the access on its own page")
    attempt = 0
    while True:
        attempt += 1
        try:
            return await _once(connections, chosen, at)
        except MintFailedError as failed:
            wait_s = failed.retry_after_s
            if wait_s is None or wait_s > MAX_WAIT_S or attempt == ATTEMPTS:
                raise BriefcaseError(
                    f"{chosen.order.account}: {failed.denial.detail} It is still connected;"
                    " --only-here forgets it all the same"
                ) from None
            say(f"the provider is busy; asking again in {wait_s} s")
            await asyncio.sleep(wait_s)


async def _once(connections: Connections, chosen: Chosen, at: Places) -> tuple[str, ...]:
    """One attempt, while nobody else refreshes: what is revoked is what is stored now. Raises `MintFailedError`."""
    from proxy.credentials.kind import MintFailedError
    from proxy.credentials.oauth.revoke import revoke
    from proxy.credentials.oauth.state import Kept
    from proxy.db.threads import in_thread

    grants, lease = connections.services.grants, await _leased(connections, chosen)
    done: tuple[str, ...] = ()
    try:
        if at.revocation:
            kept = Kept.read(lease.granted.kept)
            asking = revoke(chosen.kind, connections.given(chosen, lease.granted), at, kept)
            done = await connections.run(chosen, asking, lease=lease, passing=MintFailedError)
        await in_thread(grants.forget, chosen.order.key)
    except BaseException:
        await in_thread(grants.release, lease, keep_journal=True)
        raise
    return done


async def _leased(connections: Connections, chosen: Chosen) -> Lease:
    """Nobody refreshes from now on."""
    from proxy.db.threads import in_thread

    try:
        async with asyncio.timeout(LEASE_S):
            while (lease := await in_thread(connections.services.grants.lease, chosen.order.key)) is None:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
            return lease
    except TimeoutError:
        raise BriefcaseError(f"{chosen.order.account}: a sidecar is refreshing it; try again") from None
