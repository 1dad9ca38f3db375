"""`briefcased policy explain`: what would become of a request, and why."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path  # typer needs it at run time
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
import typer

from proxy.catalog.configuration import load_configuration
from proxy.cli.agents import JsonOption
from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.policy.reading import described
from proxy.clock import SystemClock
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from proxy.catalog.configuration import Configuration
    from proxy.decision import Generation
    from proxy.model import Agent
    from proxy.trial.explain import Explanation

EXIT_CODES: Final = {"allow": 0, "deny": 1, "approval": 3, "strong": 3}
_WORDS: Final = {
    "allow": "allowed",
    "deny": "refused",
    "approval": "allowed after an approval",
    "strong": "allowed after a strong approval",
}


def explain(
    method: Annotated[str, typer.Argument(help="The HTTP method.")],
    url: Annotated[str, typer.Argument(help="The URL as the agent would write it.")],
    agent: Annotated[str, typer.Option("--agent", help="Whose request it is.")],
    account: Annotated[
        str | None, typer.Option("--account", help="provider/account whose stand-in it carries.")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="On whose behalf the agent acts.")] = None,
    header: Annotated[list[str] | None, typer.Option("--header", "-H", help="Name: value; may be repeated.")] = None,
    body: Annotated[Path | None, typer.Option("--body", help="A file with the body.")] = None,
    at: Annotated[str | None, typer.Option("--at", help="When, as 2026-01-31T17:00:00Z; now unless said.")] = None,
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Say what would become of a request, and why; exit code 0 allowed, 3 with an approval, 1 refused."""
    from proxy.trial.explain import Trial, explained

    configuration = load_configuration(config)
    acting, generation = prepared(configuration, agent)
    trial = Trial(
        method=method,
        url=url,
        agent=acting if user is None else on_behalf_of(acting, user),
        now_ms=SystemClock().wall_ms() if at is None else moment_ms(at),
        account=account,
        headers=tuple(_header(one) for one in header or ()),
        body=None if body is None else _read(body),
    )
    explanation = explained(generation, trial)
    if as_json:
        sys.stdout.write(orjson.dumps(value_of(explanation)).decode() + "\n")
    else:
        sys.stdout.write(_text(trial.method, url, agent, user, explanation))
    raise typer.Exit(EXIT_CODES[explanation.outcome])


def prepared(configuration: Configuration, agent: str) -> tuple[Agent, Generation]:
    """The agent of this name, and the configuration as it decides about its requests."""
    from proxy.cli.stand_ins import agent_named
    from proxy.cli.up import STAND_IN_KEY
    from proxy.generation import build_generation
    from proxy.services import persistent_key
    from proxy.settings import home

    acting = agent_named(agent, configuration)
    key = persistent_key(home() / STAND_IN_KEY)
    return acting, build_generation(1, configuration, (acting,), stand_in_key=key)


def on_behalf_of(agent: Agent, user: str) -> Agent:
    """`agent` while it acts for `user`."""
    from proxy.model import User

    return replace(agent, user=User(user, ("*",), tenant=agent.tenant))


def moment_ms(text: str) -> int:
    """A moment in ISO 8601, UTC unless it says otherwise, in milliseconds. Raises `BriefcaseError`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BriefcaseError(f"{text} is no moment; write 2026-01-31T17:00:00Z") from None
    return int((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def value_of(explanation: Explanation) -> dict[str, Any]:
    """An explanation for `--json`."""
    return {
        "outcome": explanation.outcome.value,
        "operation": explanation.operation,
        "action": explanation.action,
        "account": explanation.account,
        "credential": explanation.credential,
        "slug": explanation.slug,
        "by": explanation.by,
        "observed": explanation.observed,
        "policies": [described(policy) for policy in explanation.policies],
        "sentences": list(explanation.sentences),
    }


def _text(method: str, url: str, agent: str, user: str | None, explanation: Explanation) -> str:
    outcome = _WORDS[explanation.outcome] + (f": {explanation.slug}" if explanation.slug is not None else "")
    operation = explanation.operation and f"{explanation.operation} ({explanation.action})"
    rows = (
        ("agent", agent if user is None else f"{agent} for {user}"),
        ("operation", operation or "none that a profile lists"),
        ("account", explanation.account),
        ("credential", explanation.credential),
        ("refused by", explanation.by),
    )
    lines = [f"{method} {url}", *(f"  {name:<11}{text}" for name, text in rows if text is not None), outcome]
    return "\n".join([*lines, *(f"  {sentence}" for sentence in explanation.sentences)]) + "\n"


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise BriefcaseError(f"{name} is no header; write 'Name: value'")
    return name.strip(), value.strip()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BriefcaseError(f"{path}: {error.strerror}") from None
