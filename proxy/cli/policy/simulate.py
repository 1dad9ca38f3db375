"""`briefcased policy simulate`: which past decisions other policies would change."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path  # typer needs it at run time
from typing import TYPE_CHECKING, Annotated, Final, Literal

import orjson
import typer

from proxy.catalog.configuration import load_configuration
from proxy.cli.agents import JsonOption, database
from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.policy.explain import moment_ms
from proxy.clock import SystemClock
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.catalog.configuration import Configuration
    from proxy.policy import Policies
    from proxy.trial.replay import Replayed

_UNIT_MS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SHOWN: Final = ("tightened", "approval added", "loosened", "unknown")


def simulate(
    candidate: Annotated[
        list[Path], typer.Option("--candidate", help="Files in place of `policies.files`; may be repeated.")
    ],
    against: Annotated[Literal["receipts"], typer.Option("--against", help="What is replayed: receipts.")] = "receipts",
    preset: Annotated[str | None, typer.Option("--preset", help="A preset in place of the configured one.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="From when on: 24h, 7d, or 2026-01-31T17:00:00Z.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000_000, help="The newest so many.")] = 10_000,
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Ask other policies about past calls; prints those whose decision would change."""
    del against
    from proxy.generation import build_generation
    from proxy.identity.directory import Directory
    from proxy.identity.registry import AgentRegistry
    from proxy.receipts import queries
    from proxy.trial.replay import NOT_HELD, replayed

    configuration = load_configuration(config)
    other = _candidate(configuration, candidate, preset)
    clock = SystemClock()
    directory = Directory.of(configuration.settings)
    with database() as engine:
        agents = {one.name: one for one in AgentRegistry(engine, clock=clock, directory=directory).agents()}
        calls = queries.since(engine, 0 if since is None else since_ms(since, clock.wall_ms()), limit=limit)
    generation = build_generation(1, configuration, (), stand_in_key=bytes(32))
    found = list(replayed(generation, other, agents, (call.decision for call in calls)))
    if as_json:
        value = {"calls": len(found), "not_held": list(NOT_HELD), "counts": _counts(found),
                 "changes": [_value(one) for one in found if one.change.value in _SHOWN]}  # fmt: skip
        sys.stdout.write(orjson.dumps(value).decode() + "\n")
        return
    for name in _SHOWN:
        _print(name, [one for one in found if one.change.value == name])
    sys.stdout.writelines(f"{count:>8}  {name}\n" for name, count in _counts(found).items())
    sys.stdout.write(f"Receipts hold none of: {', '.join(NOT_HELD)}. Cost counts as 0.\n")


def _candidate(configuration: Configuration, files: list[Path], preset: str | None) -> Policies:
    """The policies with `files` in place of the configured ones. Raises `ConfigError` with every mistake."""
    from proxy.catalog.policies import load_policies
    from proxy.policy.presets import PRESETS

    if preset is not None and preset not in PRESETS:
        raise BriefcaseError(f"there is no preset {preset}; there are {', '.join(PRESETS)}")
    settings = configuration.settings
    block = {"files": tuple(files), **({"preset": preset} if preset is not None else {})}
    changed = settings.model_copy(update={"policies": settings.policies.model_copy(update=block)})
    return load_policies(changed, configuration.profiles)


def since_ms(text: str, now_ms: int) -> int:
    """`24h` or a moment, in milliseconds since the epoch. Raises `BriefcaseError`."""
    ago = re.fullmatch(r"(\d{1,6})([mhd])", text)
    return moment_ms(text) if ago is None else now_ms - int(ago[1]) * _UNIT_MS[ago[2]]


def _counts(found: Sequence[Replayed]) -> dict[str, int]:
    from proxy.trial.replay import Change

    counts = Counter(one.change for one in found)
    return {change.value: counts[change] for change in Change}


def _print(name: str, found: Sequence[Replayed]) -> None:
    """Calls that are alike on one line."""
    if not found:
        return
    alike = Counter((f"{one.agent}  {one.call}  {one.operation}", _change(one)) for one in found)
    sys.stdout.write(f"{name}\n")
    sys.stdout.writelines(f"{count:>8}  {call}  {change}\n" for (call, change), count in alike.items())


def _change(one: Replayed) -> str:
    if one.now is None:
        return f"({one.why})"
    by = f" by {', '.join(one.policies)}" if one.policies else " by no permit"
    return f"{one.was} -> {one.now}{by}"


def _value(one: Replayed) -> dict[str, object]:
    return {
        "receipt": one.receipt,
        "agent": one.agent,
        "call": one.call,
        "operation": one.operation,
        "change": one.change.value,
        "was": one.was,
        "now": one.now,
        "policies": list(one.policies),
        "why": one.why or None,
    }
