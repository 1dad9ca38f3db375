"""What is explained is what the real `decide()` says of the request that an agent would send."""

from __future__ import annotations

import pytest

from proxy.errors import ConfigError
from proxy.trial.explain import Outcome, Trial, explained
from proxy.trial.fixtures import read_fixtures, results
from tests.test_decide import AGENTS, NOW_MS, generation

POLICIES = """
@id("reads") permit (principal, action == Action::"read", resource);
@id("free") permit (principal, action == Action::"callWithoutApproval", resource) when { resource.action == "read" };
@id("writes") permit (principal, action == Action::"write", resource);
@id("plain") permit (principal, action == Action::"callWithoutStrongApproval", resource)
unless { context.path == "/grave" };
@id("socket") @approval("strong") permit (principal, action, resource == Operation::"alpha:socket");
@id("shut") @advice("Nobody reads it.") forbid (principal, action, resource) when { context.path == "/shut" };
"""
URL = "https://api.alpha.example"


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    file = tmp_path_factory.mktemp("policies") / "own.cedar"
    file.write_text(POLICIES)
    return generation(policies={"files": [str(file)]})


def trial(method="GET", path="/x", *, agent="all", url=URL, **rest):
    return Trial(method, f"{url}{path}", AGENTS[agent], NOW_MS, **rest)


@pytest.mark.parametrize(
    ("tried", "outcome", "slug", "policies"),
    [
        (trial(), "allow", None, ["free", "reads"]),
        (trial("POST"), "approval", None, ["plain", "writes"]),
        (trial("POST", "/grave"), "strong", None, ["writes"]),
        (trial(path="/shut"), "deny", "policy_denied", ["shut"]),
        (trial(path="/shut?a=1#part"), "deny", "policy_denied", ["shut"]),
        (trial("DELETE"), "deny", "policy_denied", []),
        (trial(agent="none"), "deny", "policy_denied", []),
        (trial(account="alpha/work", agent="home"), "deny", "policy_denied", []),
        (trial(account="alpha/home"), "allow", None, ["free", "reads"]),
        (trial("POST", account="alpha/home"), "deny", "policy_denied", []),
        (trial("POST", body=b"x" * 101), "deny", "request_too_large", []),
        (trial("POST", body=b"x" * 100), "approval", None, ["plain", "writes"]),
        (trial("OPTIONS"), "deny", "operation_not_allowed", []),
        (trial(url="https://gone.example"), "deny", "destination_not_allowed", []),
        (trial(url="ftp://api.alpha.example"), "deny", "malformed_request", []),
        (trial(path="/a%2Fb"), "deny", "ambiguous_request", []),
        (trial(headers=(("X", "a\nb"),)), "deny", "malformed_request", []),
    ],
    ids=lambda value: f"{value.method} {value.url[8:40]}" if isinstance(value, Trial) else "",
)
def test_a_trial_ends_as_the_request_would(ours, tried, outcome, slug, policies):
    found = explained(ours, tried)
    assert (found.outcome, found.slug, [policy.id for policy in found.policies]) == (Outcome(outcome), slug, policies)
    assert found.sentences


def test_the_account_that_is_meant_is_the_one_that_is_used(ours):
    accounts = [explained(ours, trial(account=f"alpha/{name}")).account for name in ("work", "home", "boss")]
    assert accounts == ["alpha/work", "alpha/home", "alpha/boss"]


@pytest.mark.parametrize(
    ("tried", "sentence"),
    [
        (trial(), "free (own.cedar:3) lets it do without an approval."),
        (trial("POST"), "No policy permits callWithoutApproval for it."),
        (trial("POST", "/grave"), "No policy permits callWithoutStrongApproval for it."),
        (trial(path="/shut"), "shut (own.cedar:8) forbids it: Nobody reads it."),
        (trial("DELETE"), "The account does not allow admin operations."),
        (trial("DELETE", account="alpha/boss"), "No policy permits this call."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_sentences_say_why(ours, tried, sentence):
    file = str(next(iter(ours.policies.policies.values())).file)
    assert sentence.replace("own.cedar", file) in explained(ours, tried).sentences


def test_what_is_only_observed_is_allowed_and_told(tmp_path):
    (tmp_path / "own.cedar").write_text(POLICIES)
    found = explained(
        generation(policies={"files": [str(tmp_path / "own.cedar")], "observe": True}),
        trial("DELETE", account="alpha/boss"),
    )
    assert (found.outcome, found.observed) == (Outcome.ALLOW, "policy_denied")
    assert found.sentences[0].startswith("Policies are only observed")


FIXTURES = """\
version: 1
tests:
  - {name: reads, request: {method: GET, url: "https://api.alpha.example/x"}, agent: all, expect: allow, policies: [free, reads]}
  - {name: group, request: {method: POST, url: "https://api.alpha.example/x", body: "{}"}, agent: {name: new, groups: [g]}, expect: approval}
  - {name: wrong, request: {method: GET, url: "https://api.alpha.example/shut"}, agent: all, expect: allow, policies: [reads]}
  - {name: slug, request: {method: DELETE, url: "https://api.alpha.example/x"}, agent: all, at: "2026-01-31T17:00:00Z", expect: deny, slug: not_connected}
"""


def test_fixtures_tell_exactly_what_differs(tmp_path, ours):
    file = tmp_path / "tests.yaml"
    file.write_text(FIXTURES)
    document, tests = read_fixtures(file, AGENTS.get)
    found = list(results(ours, document, tests, now_ms=NOW_MS))
    assert [(r.name, r.line, r.differences) for r in found] == [
        ("reads", 3, ()),
        ("group", 4, ()),
        ("wrong", 5, (("outcome", "allow", "deny (policy_denied)"), ("policies", "reads", "shut"))),
        ("slug", 6, (("slug", "not_connected", "policy_denied"),)),
    ]


def test_mistakes_in_fixtures_come_all_at_once_with_their_lines(tmp_path):
    file = tmp_path / "tests.yaml"
    file.write_text(FIXTURES.replace("agent: all, at", "agent: nobody, at").replace("not_connected", "no_such"))
    with pytest.raises(ConfigError) as caught:
        read_fixtures(file, AGENTS.get)
    assert [(f.line, f.path) for f in caught.value.findings] == [(6, "tests[3].agent"), (6, "tests[3].slug")]
