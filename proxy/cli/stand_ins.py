"""`briefcased stand-ins`: the harmless values that an agent holds instead of secrets."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from proxy.catalog.configuration import load_configuration
from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.up import STAND_IN_KEY
from proxy.clock import SystemClock
from proxy.errors import BriefcaseError
from proxy.settings import home

if TYPE_CHECKING:
    from proxy.catalog.configuration import Configuration
    from proxy.model import Agent


def stand_ins(
    agent: Annotated[str, typer.Option(help="The agent's name.")],
    config: ConfigOption = CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
) -> None:
    """Print an agent's stand-ins: account, secret, value."""
    from proxy.generation import build_generation
    from proxy.services import persistent_key

    configuration = load_configuration(config)
    key = persistent_key(home() / STAND_IN_KEY)
    generation = build_generation(1, configuration, (agent_named(agent, configuration),), stand_in_key=key)
    rows = [{"account": str(s.account), "secret": s.slot, "stand_in": s.value} for s in generation.stand_ins.all]
    if as_json:
        sys.stdout.write(orjson.dumps(rows).decode() + "\n")
        return
    sys.stdout.writelines(f"{row['account']:<24} {row['secret']:<12} {row['stand_in']}\n" for row in rows)


def only_agent() -> str:
    """The name of the one agent there is. Raises `BriefcaseError` when there is none, or more than one."""
    from proxy.db.engine import DATABASE, open_database
    from proxy.identity.store import list_agents

    database = open_database(home() / DATABASE)
    try:
        names = [row.name for row in list_agents(database) if row.revoked_at_ms is None]
    finally:
        database.dispose()
    if len(names) != 1:
        raise BriefcaseError(f"say which agent with --agent: there {_are(names)}")
    return names[0]


def _are(names: list[str]) -> str:
    return f"are {', '.join(names)}" if names else "is none; add one: briefcased agents add NAME"


def agent_named(name: str, configuration: Configuration) -> Agent:
    """The agent of this name. Raises `BriefcaseError` when there is none."""
    from proxy.db.engine import DATABASE, open_database
    from proxy.identity.directory import Directory
    from proxy.identity.registry import AgentRegistry

    database = open_database(home() / DATABASE)
    try:
        directory = Directory.of(configuration.settings)
        for agent in AgentRegistry(database, clock=SystemClock(), directory=directory).agents():
            if agent.name == name:
                return agent
    finally:
        database.dispose()
    raise BriefcaseError(f"there is no agent named {name}; add it: briefcased agents add {name}")
