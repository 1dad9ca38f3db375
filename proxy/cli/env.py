"""`briefcased env`: the variables that point a program at a running `briefcased up`."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import orjson
import typer

from proxy.catalog.configuration import load_configuration
from proxy.catalog.listening import SPECIAL
from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.stand_ins import agent_named
from proxy.cli.state import read_state
from proxy.cli.up import BUNDLE, STAND_IN_KEY
from proxy.cli.variables import proxy_variables, stand_in_variables
from proxy.errors import BriefcaseError
from proxy.settings import environment, home

TOKEN = "BRIEFCASED_AGENT_TOKEN"  # noqa: S105  # a variable's name


def env(
    agent: Annotated[str, typer.Option(help="The agent's name.")],
    config: ConfigOption = CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of export lines.")] = False,
) -> None:
    """Print the variables for a shell; the agent's token is read from BRIEFCASED_AGENT_TOKEN."""
    from proxy.app import persistent_key
    from proxy.generation import build_generation

    configuration = load_configuration(config)
    state = read_state(home())
    if state.proxy.startswith(SPECIAL):
        raise BriefcaseError(f"no variable can point clients at {state.proxy}: listen on HOST:PORT")
    token = environment().get(TOKEN, "TOKEN")
    key = persistent_key(home() / STAND_IN_KEY)
    generation = build_generation(1, configuration, (agent_named(agent, configuration),), stand_in_key=key)
    variables = {
        **proxy_variables(f"http://agent:{token}@{state.proxy}", home() / BUNDLE),
        **stand_in_variables(configuration.profiles, agent, generation.stand_ins),
    }
    if as_json:
        sys.stdout.write(orjson.dumps(variables, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    sys.stdout.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
