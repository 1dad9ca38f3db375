"""`briefcased policy rollout`: for whom the candidate decides, and where it would decide otherwise for the others."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from proxy.catalog.configuration import load_configuration
from proxy.cli.agents import JsonOption, database
from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.policy.simulate import since_ms
from proxy.clock import SystemClock
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Iterable


def rollout(
    since: Annotated[str, typer.Option("--since", help="From when on: 24h, 7d, or 2026-01-31T17:00:00Z.")] = "7d",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000_000, help="The newest so many.")] = 10_000,
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show for whom `policies.candidate` decides, and the past calls of others that it would have decided otherwise."""
    from proxy.identity.directory import Directory
    from proxy.identity.registry import AgentRegistry
    from proxy.receipts import queries

    configuration, clock = load_configuration(config), SystemClock()
    stage = configuration.rollout
    if stage is None:
        raise BriefcaseError(f"{config} has no policies.candidate")
    with database() as engine:
        agents = AgentRegistry(engine, clock=clock, directory=Directory.of(configuration.settings)).agents()
        calls = queries.recent(engine, limit=limit, candidate=True, since_ms=since_ms(since, clock.wall_ms()))
    decided = sorted(agent.name for agent in agents if stage.decides_for(agent))
    waiting = sorted(agent.name for agent in agents if not stage.decides_for(agent))
    alike = _alike(call.decision for call in calls)
    if as_json:
        value = {"version": stage.candidate.version, "decides_for": decided, "not_for": waiting, "changes": [
            {"agent": agent, "operation": operation, "was": was, "candidate": now, "calls": count}
            for (agent, operation, was, now), count in alike.items()]}  # fmt: skip
        sys.stdout.write(orjson.dumps(value).decode() + "\n")
        return
    sys.stdout.write(f"candidate {stage.candidate.version[:12]}\n")
    sys.stdout.write(f"decides for  {', '.join(decided) or 'nobody yet'}\n")
    sys.stdout.write(f"not yet for  {', '.join(waiting) or 'nobody: it can take the place of policies.files'}\n")
    if not alike:
        sys.stdout.write(f"No receipt since {since} says that it would have decided otherwise.\n")
    for (agent, operation, was, now), count in alike.items():
        sys.stdout.write(f"{count:>8}  {agent}  {operation}  {was} -> {now}\n")


def _alike(decisions: Iterable[dict[str, Any]]) -> Counter[tuple[str, str, str, str]]:
    """How many calls of an agent and an operation change in one way."""
    return Counter(
        (one["agent"], f"{one['profile']}:{one['operation']}", _was(one), one["candidate"]) for one in decisions
    )


def _was(decision: dict[str, Any]) -> str:
    if decision["decision"] == "deny":
        return str(decision["slug"])
    return "approval" if decision.get("approval") else "allow"
