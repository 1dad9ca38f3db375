"""`briefcased policy rollout`: for whom the candidate decides, and where it would decide otherwise for the others.

By the control API of the sidecar where there is one, else from the configuration and the state directory.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode

import orjson
import typer

from proxy.catalog.configuration import load_configuration
from proxy.cli.agents import JsonOption, database
from proxy.cli.api_client import TokenFileOption, UrlOption
from proxy.cli.approval_card import safe
from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.policy.served import served
from proxy.cli.policy.simulate import since_ms
from proxy.clock import SystemClock
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.cli.api_client import ApiClient

MAX_CALLS: Final = 10_000
"""That the API tells of at once."""


def rollout(
    since: Annotated[str, typer.Option("--since", help="From when on: 24h, 7d, or 2026-01-31T17:00:00Z.")] = "7d",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000_000, help="The newest so many.")] = MAX_CALLS,
    config: ConfigOption = CONFIG,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show for whom `policies.candidate` decides, and the past calls of others that it would have decided otherwise."""
    from_ms = since_ms(since, SystemClock().wall_ms())
    client = served(url, token_file) if limit <= MAX_CALLS or url is not None else None
    value = _asked(client, from_ms, limit) if client is not None else _looked(config, from_ms, limit)
    if as_json:
        sys.stdout.write(orjson.dumps(value).decode() + "\n")
        return
    sys.stdout.write(f"candidate {value['version'][:12]}\n")
    sys.stdout.write(f"decides for  {safe(', '.join(value['decides_for'])) or 'nobody yet'}\n")
    waiting = safe(", ".join(value["not_for"])) or "nobody: it can take the place of policies.files"
    sys.stdout.write(f"not yet for  {waiting}\n")
    if not value["changes"]:
        sys.stdout.write(f"No receipt since {since} says that it would have decided otherwise.\n")
    for one in value["changes"]:
        call = safe("{agent}  {operation}  {was} -> {candidate}".format(**one))
        sys.stdout.write(f"{one['calls']:>8}  {call}\n")


def _asked(client: ApiClient, from_ms: int, limit: int) -> dict[str, Any]:
    """What is in force."""
    asked = urlencode({"since_ms": max(0, from_ms), "limit": limit})
    value: dict[str, Any] = client.call("GET", f"/policies/rollout?{asked}")
    if value.pop("stage") is None:
        raise BriefcaseError("the configuration in force has no policies.candidate")
    return value


def _looked(config: Path, from_ms: int, limit: int) -> dict[str, Any]:
    """What the configuration says."""
    from proxy.identity.directory import Directory
    from proxy.identity.registry import AgentRegistry
    from proxy.receipts import queries
    from proxy.trial.staging import stage_of

    configuration, clock = load_configuration(config), SystemClock()
    candidate = configuration.rollout
    if candidate is None:
        raise BriefcaseError(f"{config} has no policies.candidate")
    with database() as engine:
        agents = AgentRegistry(engine, clock=clock, directory=Directory.of(configuration.settings)).agents()
        calls = queries.recent(engine, limit=limit, candidate=True, since_ms=from_ms)
    return {
        "version": candidate.candidate.version,
        **asdict(stage_of(candidate, agents, (call.decision for call in calls))),
    }
