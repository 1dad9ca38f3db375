"""`briefcased lock`: stop agents, accounts, providers, tenants, or everything, at once."""

from __future__ import annotations

import asyncio
import getpass
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.shared_state import shared_state
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from proxy.cli.shared_state import SharedState
    from proxy.identity.locks import Key, Lock

type Names = list[str] | None

TenantOption = Annotated[list[str] | None, typer.Option("--tenant", help="Everything of a tenant; may be repeated.")]
AgentOption = Annotated[list[str] | None, typer.Option("--agent", help="An agent; may be repeated.")]
UserOption = Annotated[list[str] | None, typer.Option("--user", help="Whatever acts for a user; may be repeated.")]
AccountOption = Annotated[list[str] | None, typer.Option("--account", help="provider/account; may be repeated.")]
ProviderOption = Annotated[list[str] | None, typer.Option("--provider", help="A provider; may be repeated.")]
AllOption = Annotated[bool, typer.Option("--all", help="Every call of every agent.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON value.")]


def lock(
    tenant: TenantOption = None,
    agent: AgentOption = None,
    user: UserOption = None,
    account: AccountOption = None,
    provider: ProviderOption = None,
    everything: AllOption = False,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; receipts say it.")] = None,
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Stop calls within a second, and cut what runs within five; without anything to stop, list what is locked."""
    named = {"tenant": tenant, "agent": agent, "user": user, "account": account, "provider": provider}
    keys = keys_of(named, everything=everything)
    if keys and reason is None:
        raise BriefcaseError("say why: --reason TEXT")
    locked = asyncio.run(_lock(config, keys, reason or ""))
    if as_json:
        listed = [{"kind": o.kind, "name": o.name, "reason": o.reason, "by": o.by, "at_ms": o.at_ms} for o in locked]
        sys.stdout.write(orjson.dumps(listed).decode() + "\n")
        return
    for one in locked:
        since = datetime.fromtimestamp(one.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        sys.stdout.write(f"locked {words(one.key)} since {since} by {one.by}: {one.reason}\n")


async def _lock(config: Path, keys: list[Key], reason: str) -> list[Lock]:
    from proxy.identity import locks

    if not reason.isprintable() or len(reason) > locks.MAX_REASON_CHARACTERS:
        raise BriefcaseError(f"a reason is one line of at most {locks.MAX_REASON_CHARACTERS} characters")
    async with shared_state(config) as state:
        for key in keys:
            if not _known(state, key):
                raise BriefcaseError(f"there is no {words(key)}: nothing was locked")
        if keys:
            locks.lock(state.shared, keys, reason=reason, by=getpass.getuser(), clock=state.clock)
        return [one for one in locks.listed(state.shared) if one.kind != locks.TOKEN and (not keys or one.key in keys)]


def keys_of(named: Mapping[str, Names], *, everything: bool) -> list[Key]:
    """What the options name."""
    keys = [(kind, name) for kind, names in named.items() for name in names or ()]
    return [("all", ""), *keys] if everything else keys


def words(key: Key) -> str:
    """`agent coder`, or `everything`."""
    return f"{key[0]} {key[1]}" if key[1] else "everything"


def _known(state: SharedState, key: Key) -> bool:
    """Whether there is such a thing: a lock with a slip in its name would stop nothing."""
    (kind, name), settings = key, state.settings
    match kind:
        case "tenant":
            return name in settings.tenants
        case "user":
            return name in settings.users
        case "agent":
            return name in state.agents()
        case "account":
            provider, _, account = name.partition("/")
            return provider in settings.providers and account in settings.providers[provider].accounts
        case "provider":
            return name in settings.providers
    return kind == "all"
