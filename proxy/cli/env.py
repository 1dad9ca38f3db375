"""`briefcased env`: the variables that point a program at a running `briefcased up`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from proxy.catalog.configuration import load_configuration
from proxy.catalog.listening import SPECIAL
from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.sdk import sdk_variables
from proxy.cli.shells import Shell, ShellOption, off, script, unsayable
from proxy.cli.stand_ins import agent_named, only_agent
from proxy.cli.state import read_state
from proxy.cli.up import BUNDLE, STAND_IN_KEY
from proxy.cli.variables import named_in, proxy_variables, stand_in_variables, without_secrets
from proxy.errors import BriefcaseError
from proxy.settings import environment, home

if TYPE_CHECKING:
    from proxy.catalog.configuration import Configuration
    from proxy.cli.state import SidecarState

SDK_FOLDER = "sdk"
TOKEN = "BRIEFCASED_AGENT_TOKEN"  # noqa: S105  # a variable's name


def env(
    agent: Annotated[str | None, typer.Option(help="The agent's name; may be left out where there is one.")] = None,
    config: ConfigOption = CONFIG,
    shell: ShellOption = Shell.SH,
    undo: Annotated[
        bool, typer.Option("--off", help="Print what undoes it in a shell that has the variables.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines for a shell.")] = False,
) -> None:
    """Print the variables for a shell; the agent's token is read from BRIEFCASED_AGENT_TOKEN."""
    if undo:
        lines = off(shell, environment())
        if lines is None:
            raise BriefcaseError("nothing to undo: this shell has no variables of ours")
        sys.stdout.write(lines)
        return
    configuration = load_configuration(config)
    variables, secret = _variables(configuration, agent or only_agent())
    if as_json:
        sys.stdout.write(orjson.dumps(variables, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    sys.stdout.write(script(shell, variables, unset=secret))
    warn_of(unsayable(secret))


def _base_url(configuration: Configuration, state: SidecarState, agent: str) -> str | None:
    """That of the first base-URL listener which a variable can point at, and which is no other agent's."""
    for listener, at in zip(configuration.settings.listeners.more, state.more, strict=False):
        if listener.kind == "base_url" and listener.agent in (None, agent) and not at.startswith(SPECIAL):
            return f"http://{at}"
    return None


def warn_of(names: list[str]) -> None:
    """Say which variables keep a secret, because no shell can name them."""
    for name in names:
        sys.stderr.write(f"briefcased: the variable {name!r} holds a secret, and no shell can unset it\n")


def _variables(configuration: Configuration, agent: str) -> tuple[dict[str, str], list[str]]:
    """What to set, and the variables of this shell that hold a secret and have nothing to be set to."""
    from proxy.generation import build_generation
    from proxy.services import persistent_key

    profiles = configuration.profiles
    state = read_state(home())
    if state.proxy.startswith(SPECIAL):
        raise BriefcaseError(f"no variable can point clients at {state.proxy}: listen on HOST:PORT")
    token = environment().get(TOKEN, "TOKEN")
    key = persistent_key(home() / STAND_IN_KEY)
    generation = build_generation(1, configuration, (agent_named(agent, configuration),), stand_in_key=key)
    stand_ins = stand_in_variables(profiles, agent, generation.stand_ins)
    clean, taken = without_secrets(environment(), profiles, stand_ins, named=named_in(configuration.settings))
    cleaned = {name: clean[name] for name in taken if name in clean}
    sdk = sdk_variables(
        generation, agent, base_url=_base_url(configuration, state, agent), folder=home() / SDK_FOLDER / agent
    )
    proxies = proxy_variables(f"http://agent:{token}@{state.proxy}", home() / BUNDLE)
    variables = {**cleaned, **stand_ins, **proxies, **sdk}
    return variables, [name for name in taken if name not in variables]
