"""`briefcased learn`: from what was seen, the least that would have let it through."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
import typer
import yaml

from proxy.catalog.configuration import load_configuration
from proxy.cli.agents import database
from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.words import counted
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.catalog.configuration import Configuration
    from proxy.catalog.schema import Profile
    from proxy.learning import Proposal, Refusal, Seen

MAX_CALLS: Final = 100_000
UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
POLICIES: Final = "policies.cedar"
BUDGETS: Final = "budgets.yaml"
PROFILES: Final = "profiles"
SHOWN: Final = 20


def learn(
    config: ConfigOption = CONFIG,
    since: Annotated[
        str | None, typer.Option(help="Learn from calls of the last so long, as 30m, 24h or 7d; none: from all.")
    ] = None,
    watch: Annotated[
        str | None, typer.Option(help="First wait so long, or until Ctrl-C, and learn from what comes meanwhile.")
    ] = None,
    agent: Annotated[str | None, typer.Option(help="Only this agent's calls.")] = None,
    window: Annotated[str, typer.Option(help="Of the budgets: hour, day, week or month, of UTC.")] = "day",
    write: Annotated[Path | None, typer.Option(help="Put the files into this directory.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Propose the smallest profiles, policies and budgets for what was seen, and say what they would refuse."""
    from proxy.learning import propose
    from proxy.learning.amounts import WINDOWS
    from proxy.learning.proposal import listed

    if window not in WINDOWS:
        raise BriefcaseError(f"{window} is no window; there are {', '.join(WINDOWS)}")
    configuration = load_configuration(config)
    start_ms = _start_ms(since, watch)
    everything = listed(_seen(agent), configuration.profiles)
    calls = [call for call in everything if call.at_ms >= start_ms]
    if not calls:
        raise BriefcaseError("no call was seen that could be learnt from")
    proposal = propose(calls, configuration.profiles, window=window)
    refused = _replayed(everything, proposal, configuration)
    if write is not None:
        _write(write, proposal)
    if as_json:
        sys.stdout.write(orjson.dumps(_value(calls, proposal, refused)).decode() + "\n")
    else:
        _show(calls, proposal, refused, folder=write, window=window)


def _start_ms(since: str | None, watch: str | None) -> int:
    now_ms = time.time_ns() // 1_000_000
    if watch is None:
        return now_ms - _seconds(since) * 1000 if since is not None else 0
    try:
        time.sleep(_seconds(watch))
    except KeyboardInterrupt:
        sys.stderr.write("\n")
    return now_ms


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(\d{1,6})([smhd])", text, re.ASCII)
    if found is None:
        raise BriefcaseError(f"{text} is no time; write 30m, 24h or 7d")
    return int(found[1]) * UNITS_S[found[2]]


def _seen(agent: str | None) -> list[Seen]:
    from proxy.learning import seen_of
    from proxy.receipts import queries

    with database() as engine:
        found = queries.recent(engine, limit=MAX_CALLS, agent=agent)
    return [call for one in found for call in seen_of(one.decision, one.outcome)]


def _replayed(calls: Iterable[Seen], proposal: Proposal, configuration: Configuration) -> list[Refusal]:
    from proxy.budget_settings import Budget
    from proxy.catalog.policies import vocabulary
    from proxy.learning import refused_by
    from proxy.model import Agent
    from proxy.policy import Policies

    calls = list(calls)
    names = sorted({call.agent for call in calls})
    return list(
        refused_by(
            calls,
            profiles=proposal.profiles,
            policies=Policies.load([(POLICIES, proposal.policies)], vocabulary(proposal.profiles.values())),
            budgets=[Budget.model_validate(one) for one in proposal.budgets],
            agents={name: Agent(name, ("*",), "-") for name in names},
            mode=configuration.settings.mode,
        )
    )


def profile_text(profile: Profile) -> str:
    """The YAML of a profile; what a profile says by default is left out."""
    plain = profile.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)


def _write(folder: Path, proposal: Proposal) -> None:
    (folder / PROFILES).mkdir(parents=True, exist_ok=True)
    for name, profile in proposal.profiles.items():
        (folder / PROFILES / f"{name}.yaml").write_text(profile_text(profile), "utf-8")
    (folder / POLICIES).write_text(proposal.policies, "utf-8")
    budgets = yaml.safe_dump({"budgets": list(proposal.budgets)}, sort_keys=False)
    (folder / BUDGETS).write_text(budgets, "utf-8")


def _value(calls: list[Seen], proposal: Proposal, refused: list[Refusal]) -> dict[str, Any]:
    return {
        "calls": len(calls),
        "operations": _operations(proposal),
        "policies": proposal.policies,
        "budgets": list(proposal.budgets),
        "refused": [
            {"agent": one.call.agent, "operation": one.call.resource, "method": one.call.method,
             "path": one.call.path, "at_ms": one.call.at_ms, "slug": one.slug}
            for one in refused
        ],
    }  # fmt: skip


def _operations(proposal: Proposal) -> list[str]:
    return [f"{name}:{one.id}" for name, profile in proposal.profiles.items() for one in profile.operations]


def _show(calls: list[Seen], proposal: Proposal, refused: list[Refusal], *, folder: Path | None, window: str) -> None:
    out = sys.stdout.write
    out(f"learnt from {counted(len(calls), 'call')}\n\noperations that were used:\n")
    sys.stdout.writelines(f"  {name}\n" for name in _operations(proposal))
    out(f"\n{POLICIES}:\n{proposal.policies}\nbudgets, the most of one {window}, rounded up:\n")
    sys.stdout.writelines(f"  {one['match']['agent']}: {one['limit']} {one['unit']}\n" for one in proposal.budgets)
    out(f"\nof all calls in the receipts these would be refused: {len(refused) or 'none'}\n")
    counts = Counter((r.call.agent, r.call.resource, r.call.method, r.call.path, r.slug) for r in refused)
    for (agent, resource, method, path, slug), count in sorted(counts.items())[:SHOWN]:
        out(f"  {agent} {resource} {method} {path}: {slug}, {counted(count, 'time')}\n")
    if len(counts) > SHOWN:
        out(f"  and {len(counts) - SHOWN} more; --json lists all\n")
    if folder is not None:
        out(f"\nwritten to {folder}; put into briefcased.yaml:\n")
        out(f"  profiles: [{folder / PROFILES}]\n  policies: {{files: [{folder / POLICIES}]}}\n")
        out(f"  budgets: as in {folder / BUDGETS}\n")
