"""The pure parts of the manifest."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from proxy.catalog.loader import load_profiles, shipped
from proxy.errors import Denial
from proxy.manifest.accept import wants_text
from proxy.manifest.examples import example_of
from proxy.manifest.plain import plain
from proxy.manifest.refusals import Refusals
from proxy.model import ANONYMOUS, Agent

if TYPE_CHECKING:
    from proxy.receipts.record import Value

CALL: dict[str, Value] = dict.fromkeys(("id", "method", "host", "path", "operation", "account"), "x")


@pytest.mark.parametrize(
    ("accept", "text"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", False),
        ("text/plain", True),
        ("text/*", True),
        ("text/plain, */*", False),
        ("text/plain, */*;q=0.8", True),
        ("text/plain;q=0.3, application/json;q=0.2", True),
        ("text/plain;q=x", False),
        ("text/html", False),
    ],
)
def test_which_form_a_client_prefers(accept: str | None, text: bool) -> None:
    assert wants_text(accept) is text


def test_plain_text() -> None:
    value = {"a": 1, "b": [{"c": True, "d": []}, {"c": None}], "e": {"f": "x"}, "g": ["y"]}
    assert plain(value) == "a: 1\nb:\n  - c: yes\n    d: none\n  - c: none\ne:\n  f: x\ng:\n  - y\n"


def test_p7_refusals_of_few_agents_are_remembered_and_none_of_nobody() -> None:
    refusals, denial = Refusals(max_agents=2), Denial("policy_denied", "No.", by="policy")
    agents = [Agent(name, (), "t") for name in ("a", "b", "c")]
    for agent in (ANONYMOUS, *agents):
        refusals.note(agent, denial, CALL, now_ms=1)
    assert refusals.of(agents[0]) is None
    assert refusals.of(ANONYMOUS) is None
    assert refusals.of(agents[2]) is not None


def test_p6_the_same_name_in_another_tenant_is_another_agent() -> None:
    refusals = Refusals()
    refusals.note(Agent("a", (), "t", tenant="one"), Denial("policy_denied", "No.", by="policy"), CALL, now_ms=1)
    assert refusals.of(Agent("a", (), "t", tenant="two")) is None


def test_examples_of_the_shipped_profiles_are_commands() -> None:
    for profile in load_profiles([shipped()]).values():
        for operation in profile.operations:
            words = shlex.split(example_of(profile, operation, "https://host.test"))
            assert words[0] == "curl"
            assert "stand_in:" not in " ".join(words)


def test_an_example_names_the_variable_that_holds_the_stand_in() -> None:
    github = load_profiles([shipped()])["github"]
    commands = [example_of(github, operation, "https://api.github.com") for operation in github.operations]
    assert any('"$GITHUB_TOKEN"' in command or '"$GH_TOKEN"' in command for command in commands)
