"""I-05: by which settings another configuration allows more, and what of it stays away from a start until that is confirmed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import orjson
import pytest
import yaml

from proxy.catalog.configuration import load_configuration
from proxy.catalog.setting_changes import deciding, narrowed, unnamed, wider
from proxy.catalog.setting_rules import NotThereError
from proxy.documents import LOADER
from proxy.model import Agent
from proxy.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """\
version: 1
mode: staging
listeners:
  api: 127.0.0.1:8082
  more:
    - {at: "unix:/run/coder.sock", agent: coder, uids: [1000, 1001]}
    - {at: "10.0.0.1:8443", tls: {certificate: /c.pem, key: /k.pem, trust_bundles: {one.test: /a.pem, two.test: /b.pem}}}
providers:
  github:
    accounts:
      work: {secrets: {token: "file:/run/token", app_key: "file:/run/key"}, default: true, tenant: acme, actions: [read, write]}
      bot: {secrets: {token: "file:/run/bot"}, tenant: acme, headers: {X-Org: acme}}
    ca_bundle: /etc/own.pem
  openai:
    accounts: {main: {secrets: {api_key: "vault:kv/openai#key"}, tenant: acme}}
    upstream_proxy: {url: "http://proxy.test:3128", username: "env:USER"}
tenants: [acme, other]
users:
  ada: {accounts: ["github/*"], tenant: acme, groups: [staff]}
agents:
  coder: {accounts: ["github/*"], tenant: acme, groups: [coders], users: [ada], spiffe: "spiffe://one.test/coder"}
  ci: {accounts: [github/work], tenant: acme, hand_over: {directory: /share, proxy: "sidecar:8080"}}
unmatched: refuse
passthrough_hosts: [mirror.test]
egress:
  allow_private:
    - {host: git.corp.test, addresses: [10.1.0.0/16, 10.2.0.0/16]}
identity:
  tokens:
    - {issuer: "https://issuer.test", audience: briefcased, agent: {map: {a: coder, b: ci}}, jwks_url: "https://issuer.test/keys"}
risk:
  approval_at: 40
  refuse_at: 90
  profiles: {github: {approval_at: 20}}
  working_hours: {from_hour: 8}
  classifier: {url: "https://score.test/", token: "file:/run/score", send: body}
approvals:
  approvers: 2
  use_within_s: 300
  volatile_headers: [X-Trace]
  channels:
    webhooks: {chat: {url: "https://hooks.test/T0/secret-path"}}
    slack: {ops: {channel: C123, token: "file:/run/slack", signing_secret: "file:/run/sign", approvers: {U1: ada, U2: bob}}}
operators:
  local: [{uid: 1000, name: ada, role: approver, tenant: acme}]
  oidc:
    - {label: corp, issuer: "https://id.test", client_id: briefcased, roles: [{claim: groups, value: ops, role: operator}]}
budgets:
  - {name: daily, limit: "25.00", soft: [{at: 0.8, then: approval}]}
  - {name: calls, unit: requests, limit: 1000, window: hour, match: {agent: coder}}
rates:
  - {name: slow, calls: 10, burst: 2}
limits: {max_body_bytes: 1000000}
confinement: {required: false, accept: [dns]}
"""

CI = '  ci: {accounts: [github/work], tenant: acme, hand_over: {directory: /share, proxy: "sidecar:8080"}}\n'
OPENAI = """\
  openai:
    accounts: {main: {secrets: {api_key: "vault:kv/openai#key"}, tenant: acme}}
    upstream_proxy: {url: "http://proxy.test:3128", username: "env:USER"}
"""
WIDER: list[tuple[str, str, str]] = [
    ("mode: staging", "mode: reference", "mode: staging -> reference"),
    ("agent: coder, uids", "agent: ci, uids", "listeners.more[unix:/run/coder.sock].agent: changed"),
    ("uids: [1000, 1001]", "uids: [1000, 0]", "listeners.more[unix:/run/coder.sock].uids: 0 is new"),
    ("uids: [1000, 1001]", "uids: []", "listeners.more[unix:/run/coder.sock].uids: none is left"),
    ("  more:\n", '  more:\n    - {at: "unix:/new.sock", agent: ci}\n', "listeners.more[unix:/new.sock] is new"),
    ("two.test: /b.pem", "three.test: /b.pem", "listeners.more[10.0.0.1:8443].tls.trust_bundles: three.test is new"),
    ('app_key: "file:/run/key"', 'oauth: "file:/x"', "providers.github.accounts.work.secrets: oauth is new"),
    ("X-Org: acme}", 'X-Org: acme}, keys: {app: "file:/k"}', "providers.github.accounts.bot.keys: app is new"),
    ("actions: [read, write]", "actions: [read, admin]", "providers.github.accounts.work.actions: admin is new"),
    ("tenant: acme, headers", "default: true, tenant: acme, headers", "providers.github.accounts.bot.default: false -> true"),
    ("X-Org: acme", "X-Org: evil", "providers.github.accounts.bot.headers: changed"),
    ("      bot:", '      root: {secrets: {token: "file:/r"}}\n      bot:', "providers.github.accounts.root is new"),
    ("  openai:", '  stripe: {accounts: {main: {secrets: {key: "file:/r"}}}}\n  openai:', "providers.stripe is new"),
    ("proxy.test:3128", "proxy.evil.test:3128", "providers.openai.upstream_proxy.url: changed"),
    ("[acme, other]", "[acme, third]", "tenants: third is new"),
    ('accounts: ["github/*"], tenant: acme, groups: [staff]', 'accounts: ["*"], tenant: acme, groups: [staff]', "users.ada.accounts: * is new"),
    ("groups: [coders]", "groups: [coders, admins]", "agents.coder.groups: changed"),
    ("users: [ada]", "users: [ada, bob]", "agents.coder.users: bob is new"),
    ('one.test/coder"', 'one.test/other"', "agents.coder.spiffe: changed"),
    ("ci: {accounts: [github/work]", "ci: {accounts: [github/bot]", "agents.ci.accounts: github/bot is new"),
    ("agents:\n", "agents:\n  late: {}\n", "agents.late is new"),
    ("directory: /share", "directory: /of-coder", "agents.ci.hand_over.directory: changed"),
    ("unmatched: refuse", "unmatched: pass", "unmatched: refuse -> pass"),
    ("[mirror.test]", "[mirror.test, evil.test]", "passthrough_hosts: evil.test is new"),
    ("addresses: [10.1.0.0/16, 10.2", "addresses: [127.0.0.1, 10.2", "egress.allow_private: git.corp.test at 127.0.0.1 10.2.0.0/16 is new"),
    ("a: coder, b: ci", "a: coder, c: ci", "identity.tokens[https://issuer.test briefcased].agent: c=ci is new"),
    ("audience: briefcased", "audience: other", "identity.tokens[https://issuer.test other] is new"),
    ("approval_at: 40", "approval_at: 60", "risk.approval_at: 40 -> 60"),
    ("  refuse_at: 90\n", "", "risk.refuse_at: 90 -> none"),
    ("  profiles: {github: {approval_at: 20}}\n", "", "risk.profiles.github is gone"),
    ("from_hour: 8", "from_hour: 1", "risk.working_hours: changed"),
    ("send: body", "send: features", "risk.classifier.send: body -> features"),
    ("approvers: 2", "approvers: 1", "approvals.approvers: 2 -> 1"),
    ("use_within_s: 300", "use_within_s: 3000", "approvals.use_within_s: 300 -> 3000"),
    ("[X-Trace]", "[X-Trace, X-To]", "approvals.volatile_headers: X-To is new"),
    ("U2: bob", "U2: eve", "approvals.channels.slack.ops.approvers: U2=eve is new"),
    ("role: approver, tenant: acme", "role: admin, tenant: acme", "operators.local[1000].role: approver -> admin"),
    ("role: approver, tenant: acme", "role: approver", "operators.local[1000].tenant: changed"),
    ("local: [{", "local: [{uid: 7, name: eve, role: admin}, {", "operators.local[7] is new"),
    ("  local: [{uid: 1000, name: ada, role: approver, tenant: acme}]\n", "", "operators.local: none is left"),
    ("value: ops", "value: all", "operators.oidc[corp].roles: changed"),
    ('limit: "25.00"', 'limit: "250.00"', "budgets[daily].limit: 25.00 -> 250.00"),
    ("soft: [{at: 0.8", "soft: [{at: 0.9", "budgets[daily].soft: changed"),
    ("{name: calls", "{name: other", "budgets[calls] is gone"),
    ("match: {agent: coder}", "match: {agent: ci}", "budgets[calls].match.agent: changed"),
    ("burst: 2", "burst: 20", "rates[slow].burst: 2 -> 20"),
    ("  - {name: slow, calls: 10, burst: 2}\n", "  []\n", "rates[slow] is gone"),
    ("max_body_bytes: 1000000", "max_body_bytes: 2000000", "limits.max_body_bytes: 1000000 -> 2000000"),
    ("accept: [dns]", "accept: [dns, metadata]", "confinement.accept: metadata is new"),
    ("rates:", "prices: {openai: [{model: gpt, per_million: {input_tokens: 1}}]}\nrates:", "prices: changed"),
]  # fmt: skip
NARROWER: list[tuple[str, str]] = [
    ("uids: [1000, 1001]", "uids: [1000]"),
    ("two.test: /b.pem", ""),
    ('    - {at: "unix:/run/coder.sock", agent: coder, uids: [1000, 1001]}\n', ""),
    ("agent: coder, uids", "uids"),
    ("file:/run/token", "vault:kv/github#token"),
    (', app_key: "file:/run/key"', ""),
    ("actions: [read, write]", "actions: [read]"),
    ("default: true, ", ""),
    ('accounts: ["github/*"], tenant: acme, groups: [coders]', "accounts: [github/work], tenant: acme, groups: [coders]"),
    (', spiffe: "spiffe://one.test/coder"', ""),
    ('  ci: {accounts: [github/work], tenant: acme, hand_over: {directory: /share, proxy: "sidecar:8080"}}\n', ""),
    ('directory: /share, proxy: "sidecar:8080"', 'directory: /share, proxy: "sidecar:8081"'),
    ("[mirror.test]", "[]"),
    ("addresses: [10.1.0.0/16, 10.2.0.0/16]", "addresses: [10.1.0.0/16]"),
    (", b: ci", ""),
    ("approval_at: 40", "approval_at: 30"),
    ("  refuse_at: 90\n", "  refuse_at: 80\n"),
    ("approvers: 2", "approvers: 3"),
    ("https://hooks.test/T0/secret-path", "https://hooks.test/T0/other-path"),
    ("file:/run/score", "file:/run/other"),
    ("role: approver, tenant: acme", "role: viewer, tenant: acme"),
    ('limit: "25.00"', 'limit: "2.50"'),
    ("soft: [{at: 0.8, then: approval}]", "soft: [{at: 0.8, then: approval}, {at: 0.5, then: warn}]"),
    ("budgets:\n", 'budgets:\n  - {name: month, limit: "100", window: month}\n'),
    ("mode: staging", "mode: ga"),
    ("limits: {max", "limits: {drain_s: 5, max"),
    ("api: 127.0.0.1:8082", "api: 127.0.0.1:8083"),
    ("required: false", "required: true"),
]  # fmt: skip


def settings(text: str) -> Settings:
    return Settings.model_validate_json(orjson.dumps(yaml.load(text, Loader=LOADER)))


def changed(old: str, new: str) -> Settings:
    assert TEXT.count(old) == 1, old
    return settings(TEXT.replace(old, new))


@pytest.mark.parametrize(("old", "new", "said"), WIDER, ids=[said for _, _, said in WIDER])
def test_what_allows_more_is_said_and_stays_away(old: str, new: str, said: str) -> None:
    before, wanted = deciding(settings(TEXT)), changed(old, new)
    assert list(wider(before, deciding(wanted))) == [said]
    assert list(wider(before, deciding(narrowed(wanted, before)))) == []


@pytest.mark.parametrize(("old", "new"), NARROWER)
def test_what_allows_less_or_has_no_say_is_not_said_and_counts_at_once(old: str, new: str) -> None:
    before, wanted = deciding(settings(TEXT)), changed(old, new)
    assert list(wider(before, deciding(wanted))) == []
    assert narrowed(wanted, before) == wanted


MATCHED = ("agent: {map: {a: coder, b: ci}}", 'agent: {map: {a: coder, b: ci}, match: "{agent}"}')
PERSON = (
    "roles: [{claim: groups",
    "user: {claim: email, map: {ada@a.test: ada, bob@a.test: bob}}, roles: [{claim: groups",
)


@pytest.mark.parametrize(
    ("block", "gone", "said"),
    [
        (MATCHED, ", b: ci", "identity.tokens[https://issuer.test briefcased].agent: b is gone, and may be another"),
        (PERSON, "ada@a.test: ada, ", "operators.oidc[corp].user: ada@a.test is gone, and may be another"),
    ],
)
def test_who_leaves_a_map_may_be_named_otherwise_then(block: tuple[str, str], gone: str, said: str) -> None:
    """By the pattern; and an operator who is no user that we know decides about the calls of all users."""
    text = TEXT.replace(*block)
    assert (text != TEXT, text.count(gone)) == (True, 1)
    before, wanted = deciding(settings(text)), settings(text.replace(gone, ""))
    assert list(wider(before, deciding(wanted))) == [said]
    assert narrowed(wanted, before) == settings(text)


def test_a_map_or_a_list_that_must_not_be_empty_is_as_it_was_where_all_of_it_waits() -> None:
    before = deciding(settings(TEXT))
    wanted = changed("{map: {a: coder, b: ci}}", "{map: {c: coder}}, algorithms: [ES384]")
    assert narrowed(wanted, before) == settings(TEXT)


def test_what_narrows_counts_where_something_else_waits() -> None:
    before = deciding(settings(TEXT))
    text = TEXT.replace("unmatched: refuse", "unmatched: pass").replace('limit: "25.00"', 'limit: "2.50"')
    found = narrowed(
        settings(text.replace('["github/*"], tenant: acme, groups: [coders]', "[github/work, openai/main]")), before
    )
    assert (found.unmatched, found.budgets[0].limit, found.agents["coder"].accounts) == (
        "refuse",
        "2.50",
        ("github/work",),
    )


def test_the_same_settings_are_the_same() -> None:
    one = settings(TEXT)
    assert narrowed(one, deciding(one)) == one
    assert list(wider(deciding(one), deciding(one))) == []


def test_neither_secret_refs_nor_paths_nor_places_to_tell_are_kept() -> None:
    found = repr(deciding(settings(TEXT)))
    for word in ("file:", "env:", "vault:", "hooks.test", ".pem", "secret-path"):
        assert word not in found
    assert "app_key" in found


def test_what_the_mode_asks_for_counts_as_if_it_were_said() -> None:
    """Where nothing is said, staging wants an approval from 50 on; to say 60 is to allow more."""
    said = "version: 1\nmode: staging\n"
    told = wider(deciding(settings(said)), deciding(settings(f"{said}risk: {{approval_at: 60}}\n")))
    assert list(told) == ["risk.approval_at: 50 -> 60", "risk.strong_at: 80 -> none"]


@pytest.mark.parametrize(
    ("text", "gone", "why"),
    [
        ("unmatched: pass", OPENAI, "providers.openai is gone, so its calls pass unread"),
        ("unmatched: refuse", "    ca_bundle: /etc/own.pem\n", "providers.github.ca_bundle is gone"),
    ],
)
def test_what_cannot_be_had_back_is_named(text: str, gone: str, why: str) -> None:
    said = TEXT.replace("unmatched: refuse", text)
    before, wanted = deciding(settings(said)), settings(said.replace(gone, ""))
    assert [one.replace(": is", " is") for one in wider(before, deciding(wanted))] == [why]
    with pytest.raises(NotThereError, match=why.replace(".", r"\.")):
        narrowed(wanted, before)


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (Agent("ci", (), "-", "acme"), []),
        (Agent("ci", ("github/work",), "-", "acme"), []),
        (Agent("ci", ("*",), "-", "acme"), ["agents.ci.accounts: * is new, by `agents add`"]),
        (Agent("ci", ("github/work",), "-", "acme", ("coders",)), ["agents.ci.groups: changed, by `agents add`"]),
        (Agent("other", ("*",), "-", "acme"), []),
    ],
)
def test_an_agent_that_is_not_named_any_more_may_have_more_by_the_database(left: Agent, said: list[str]) -> None:
    before = deciding(settings(TEXT))
    wanted = changed(CI, "")
    found = unnamed(before, deciding(wanted), [left])
    assert [one for each in found.values() for one in each] == said
    kept = narrowed(wanted, before, found)
    assert {name: entry.accounts for name, entry in kept.agents.items() if name == "ci"} == (
        {"ci": ("github/work",)} if said else {}
    )


def test_a_provider_that_is_gone_is_no_matter_to_a_start_that_goes_on_refusing_its_calls() -> None:
    before = deciding(settings(TEXT))
    wanted = settings(TEXT.replace("unmatched: refuse", "unmatched: pass").replace(OPENAI, ""))
    assert list(wider(before, deciding(wanted))) == [
        "unmatched: refuse -> pass", "providers.openai is gone, so its calls pass unread",
    ]  # fmt: skip
    found = narrowed(wanted, before)
    assert (found.unmatched, sorted(found.providers)) == ("refuse", ["github"])


@pytest.mark.parametrize("seed", range(8))
def test_of_many_changes_at_once_nothing_that_allows_more_is_left(seed: int) -> None:
    drawn = random.Random(seed)
    text, said, before = TEXT, [], deciding(settings(TEXT))
    for old, new, *words in drawn.sample([*WIDER, *NARROWER], 30):
        if text.count(old) == 1:
            text = text.replace(old, new)
            said += words
    wanted = settings(text)
    assert said
    assert len(list(wider(before, deciding(wanted)))) >= len(said) / 2  # one may take the place of another
    assert list(wider(before, deciding(narrowed(wanted, before)))) == []


def test_it_is_no_matter_where_the_file_lies(tmp_path: Path) -> None:
    """Else a bundle that was signed elsewhere would not be the one that runs."""
    found = []
    for folder in (tmp_path / "here", tmp_path / "there"):
        folder.mkdir()
        (folder / "keys.json").write_text("{}")
        (folder / "briefcased.yaml").write_text(
            "version: 1\nidentity:\n  tokens:\n"
            "    - {issuer: a, audience: b, jwks_file: keys.json, agent: {map: {x: coder}}}\nagents: {coder: {}}\n"
        )
        loaded = load_configuration(folder / "briefcased.yaml")
        assert loaded.settings.identity.tokens[0].jwks_file == folder / "keys.json"
        found.append(deciding(loaded.settings))
    assert found[0] == found[1]
