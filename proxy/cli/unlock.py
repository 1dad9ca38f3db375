"""`briefcased unlock`: let go on what was stopped."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import orjson

from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.lock import (
    AccountOption,
    AgentOption,
    AllOption,
    JsonOption,
    ProviderOption,
    TenantOption,
    UserOption,
    keys_of,
    words,
)
from proxy.cli.shared_state import shared_state
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.identity.locks import Key


def unlock(
    tenant: TenantOption = None,
    agent: AgentOption = None,
    user: UserOption = None,
    account: AccountOption = None,
    provider: ProviderOption = None,
    everything: AllOption = False,
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Lift locks: exactly those that are named. `--all` lifts the lock of everything, no other."""
    named = {"tenant": tenant, "agent": agent, "user": user, "account": account, "provider": provider}
    keys = keys_of(named, everything=everything)
    if not keys:
        raise BriefcaseError("say what to unlock; briefcased lock lists what is locked")
    lifted = asyncio.run(_unlock(config, keys))
    if as_json:
        sys.stdout.write(orjson.dumps([{"kind": kind, "name": name} for kind, name in lifted]).decode() + "\n")
    else:
        sys.stdout.write("".join(f"unlocked {words(key)}\n" for key in lifted))
    if missing := [words(key) for key in keys if key not in lifted]:
        raise BriefcaseError(f"not locked: {', '.join(missing)}")


async def _unlock(config: Path, keys: list[Key]) -> list[Key]:
    from proxy.identity import locks

    async with shared_state(config) as state:
        return locks.unlock(state.shared, keys)
