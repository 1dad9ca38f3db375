"""Mistakes in `budgets:`, `rates:` and `prices:`, each with its line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.catalog.configuration import load_configuration
from proxy.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

BASE = """\
version: 1
providers: {openai: {accounts: {main: {secrets: {api_key: "env:OPENAI_API_KEY"}}}}}
agents: {coder: {accounts: ["*"]}}
"""


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('budgets: [{name: a, limit: "1"}, {name: a, limit: "2"}]', 4, "this name stands twice"),
        ('budgets: [{name: a, limit: "1", zone: Europe/Nowhere}]', 4, "there is no time zone of this name"),
        ('budgets:\n  - {name: a, limit: "1", match: {agent: codre}}', 5, "there is no agent of this name"),
        ('budgets: [{name: a, limit: "1", match: {tenant: acme}}]', 4, "there is no tenant of this name"),
        ('budgets: [{name: a, limit: "1", match: {provider: github}}]', 4, "there is no enabled provider of this name"),
        ('budgets: [{name: a, limit: "1", match: {account: openai/work}}]', 4, "there is no account of this name"),
        ('budgets: [{name: a, limit: "1", match: {operation: "openai:x"}}]', 4, "there is no operation of an enabled"),
        ("budgets: [{name: a, limit: 1.5}]", 4, "valid"),
        ("budgets: [{name: a, limit: -1, unit: requests}]", 4, "a whole number, from 0"),
        ('budgets: [{name: a, limit: "-1"}]', 4, "an amount in US dollars"),
        ("rates: [{name: a, calls: 1}, {name: a, calls: 2}]", 4, "this name stands twice"),
        ("prices: {github: [{model: m, per_million: {input_tokens: 1}}]}", 4, "no profile of this name is enabled"),
        ("prices: {openai: [{model: 'a*b', per_million: {input_tokens: 1}}]}", 4, "* stands at the end alone"),
        ("prices: {openai: [{model: a, valid_from: '2026-02-30', per_million: {usd: 1}}]}", 4, "there is no such day"),
    ],
)
def test_k_05_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    file = tmp_path / "briefcased.yaml"
    file.write_text(BASE + text + "\n")
    with pytest.raises(ConfigError) as told:
        load_configuration(file)
    assert any(one.line == line and message in one.message for one in told.value.findings), told.value.findings


TENANTS = """\
version: 1
tenants: [acme, globex]
users: {bob: {tenant: globex, accounts: ["*"]}}
agents: {coder: {tenant: acme, accounts: ["*"]}, rival: {tenant: globex, accounts: ["*"]}}
providers:
  openai:
    accounts:
      red: {tenant: acme, secrets: {api_key: "env:RED"}}
      blue: {tenant: globex, secrets: {api_key: "env:BLUE"}}
"""


@pytest.mark.parametrize(
    ("match", "message"),
    [
        ("{tenant: acme}", None),
        ("{tenant: globex, account: openai/blue, agent: rival, user: bob}", None),
        ("{tenant: default}", "there is no tenant of this name"),
        ("{tenant: acme, account: openai/blue}", "this account is another tenant's"),
        ("{tenant: acme, agent: rival}", "this agent is another tenant's"),
        ("{tenant: acme, user: bob}", "this user is another tenant's"),
        ("{user: bert}", "there is no user of this name"),
    ],
)
def test_a_budget_is_for_a_tenant_that_there_is(tmp_path: Path, match: str, message: str | None) -> None:
    file = tmp_path / "briefcased.yaml"
    file.write_text(f'{TENANTS}budgets: [{{name: a, limit: "1", match: {match}}}]\n')
    if message is None:
        assert load_configuration(file).settings.budgets[0].match.tenant in ("acme", "globex")
        return
    with pytest.raises(ConfigError) as told:
        load_configuration(file)
    assert [one.message for one in told.value.findings] == [message]


def test_what_is_right_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "briefcased.yaml"
    right = 'budgets: [{name: a, limit: "25.00", zone: Europe/Zurich, match: {operation: "openai:chat.create"}}]\n'
    file.write_text(BASE + right)
    assert load_configuration(file).settings.budgets[0].amount == 25_000_000
