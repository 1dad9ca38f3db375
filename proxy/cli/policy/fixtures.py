"""`briefcased policy test`: requests whose decision is written down beforehand."""

from __future__ import annotations

import sys
from pathlib import Path  # typer needs it at run time
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from proxy.catalog.configuration import load_configuration
from proxy.cli.agents import JsonOption
from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.policy.explain import value_of
from proxy.cli.words import counted
from proxy.clock import SystemClock
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from proxy.catalog.configuration import Configuration
    from proxy.model import Agent
    from proxy.trial.fixtures import Result


def try_file(
    file: Annotated[Path, typer.Argument(help="A YAML file of requests and what is expected of them.")],
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Try the requests of FILE; exit code 1 where one is not decided as expected."""
    from proxy.generation import build_generation
    from proxy.trial.fixtures import read_fixtures, results

    configuration = load_configuration(config)
    document, tests = read_fixtures(file, lambda name: _agent(name, configuration))
    # Stand-ins of tests are those of no sidecar: which account is meant, `account` says.
    agents = {agent.name: agent for _, agent in tests}
    generation = build_generation(1, configuration, agents.values(), stand_in_key=bytes(32))
    found = list(results(generation, document, tests, now_ms=SystemClock().wall_ms()))
    failed = sum(bool(result.differences) for result in found)
    if as_json:
        listed = [{"name": r.name, "line": r.line, "ok": not r.differences,
                   "differences": [dict(zip(("what", "expected", "found"), one, strict=True)) for one in r.differences],
                   **value_of(r.explanation)} for r in found]  # fmt: skip
        sys.stdout.write(orjson.dumps({"ok": not failed, "tests": listed}).decode() + "\n")
    else:
        for result in found:
            _print(file, result)
        ended = f"{counted(len(found), 'test')}, {failed} not as expected" if failed else counted(len(found), "test")
        sys.stdout.write(f"{ended}: {'failed' if failed else 'ok'}\n")
    raise typer.Exit(1 if failed else 0)


def _agent(name: str, configuration: Configuration) -> Agent | None:
    """One that the configuration names, else one of this state directory."""
    from proxy.cli.stand_ins import agent_named
    from proxy.model import Agent

    named = configuration.settings.agents.get(name)
    if named is not None:
        return Agent(name, named.accounts, "-")
    try:
        return agent_named(name, configuration)
    except BriefcaseError:
        return None


def _print(file: Path, result: Result) -> None:
    if not result.differences:
        sys.stdout.write(f"ok    {result.name}\n")
        return
    sys.stdout.write(f"FAIL  {result.name} ({file}:{result.line})\n")
    for what, expected, found in result.differences:
        sys.stdout.write(f"        {what}\n      - {expected}\n      + {found}\n")
    sys.stdout.writelines(f"        {sentence}\n" for sentence in result.explanation.sentences)
