"""I-03: what policies say of a request; without any, no."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.model import Strength
from proxy.policy import Limit
from proxy.policy.presets import PRESETS
from tests.policy.questions import ALICE, CODER, policies, question

READ, WRITE, ADMIN = "repos.get", "pulls.merge", "keys.add"
NO = "denied"


@pytest.mark.parametrize(
    ("preset", "operation", "cost_microusd", "wanted"),
    [
        ("open", READ, 0, Strength.NONE),
        ("open", WRITE, 5_000_000, Strength.NONE),
        ("open", ADMIN, 0, Strength.NONE),
        ("relaxed", READ, 1_000_000, Strength.NONE),
        ("relaxed", READ, 1_000_001, Strength.APPROVAL),
        ("relaxed", WRITE, 0, Strength.APPROVAL),
        ("relaxed", ADMIN, 0, NO),
        ("standard", READ, 10_000, Strength.NONE),
        ("standard", READ, 10_001, Strength.APPROVAL),
        ("standard", WRITE, 0, Strength.APPROVAL),
        ("standard", WRITE, 1_000_001, Strength.STRONG),
        ("standard", ADMIN, 0, NO),
        ("strict", READ, 0, Strength.APPROVAL),
        ("strict", WRITE, 0, Strength.STRONG),
        ("strict", ADMIN, 0, NO),
        ("read-only", READ, 9_000_000, Strength.NONE),
        ("read-only", WRITE, 0, NO),
        ("read-only", ADMIN, 0, NO),
    ],
)
def test_presets(preset: str, operation: str, cost_microusd: int, wanted: Strength | str) -> None:
    verdict = policies("", name=preset).judge(question(operation, cost_microusd=cost_microusd))
    assert (verdict.strength if verdict.allowed else NO) == wanted
    assert all(id_.startswith(preset) for id_ in verdict.policies)
    assert not verdict.failed


def test_sensitive_writes_need_a_strong_approval_in_the_standard_preset() -> None:
    verdict = policies("", name="standard").judge(question(WRITE, data_class="sensitive"))
    assert (verdict.allowed, verdict.strength) == (True, Strength.STRONG)


@pytest.mark.parametrize("text", ["", "// nothing", "\n\n"])
def test_i_03_without_policies_nothing_is_allowed(text: str) -> None:
    verdict = policies(text).judge(question())
    assert (verdict.allowed, verdict.failed, verdict.policies) == (False, False, ())


ALL = "permit (principal, action, resource);\n"


@pytest.mark.parametrize(
    ("text", "operation", "allowed"),
    [
        ('permit (principal == Agent::"coder", action in Action::"call", resource);', READ, True),
        ('permit (principal == Agent::"other", action in Action::"call", resource);', READ, False),
        ('permit (principal in AgentGroup::"builders", action == Action::"call", resource);', READ, True),
        ('permit (principal in AgentGroup::"others", action == Action::"call", resource);', READ, False),
        ('permit (principal in Tenant::"acme", action == Action::"call", resource);', READ, True),
        ('permit (principal in Tenant::"other", action == Action::"call", resource);', READ, False),
        ('permit (principal, action == Action::"read", resource);', READ, True),
        ('permit (principal, action == Action::"read", resource);', WRITE, False),
        ('permit (principal, action == Action::"github:pulls.merge", resource);', WRITE, True),
        ('permit (principal, action == Action::"github:pulls.merge", resource);', READ, False),
        ('permit (principal, action, resource == Operation::"github:repos.get");', READ, True),
        ('permit (principal, action, resource in Profile::"github");', WRITE, True),
        ('permit (principal, action, resource in Provider::"stripe");', WRITE, False),
        ('permit (principal, action, resource is Operation in Profile::"github");', WRITE, True),
        (ALL + 'forbid (principal, action == Action::"github:pulls.merge", resource);', WRITE, False),
        (ALL + 'forbid (principal, action == Action::"github:pulls.merge", resource);', READ, True),
        (ALL + "forbid (principal, action, resource) when { context.hour < 6 };", READ, False),
        (ALL + "forbid (principal, action, resource) when { context.weekday == 3 };", READ, False),
        (ALL + 'forbid (principal, action, resource) when { context.now > datetime("2025-11-26") };', READ, True),
        (ALL + 'forbid (principal, action, resource) unless { context.account == "github/work" };', READ, True),
        (ALL + 'forbid (principal, action, resource) when { context.host like "*.github.test" };', READ, False),
    ],
)
def test_scopes_and_conditions(text: str, operation: str, allowed: bool) -> None:
    assert policies(text).judge(question(operation)).allowed is allowed


@pytest.mark.parametrize(
    ("given", "allowed"),
    [({"owner": "acme"}, True), ({"owner": "other"}, False), ({}, False), ({"repo": "acme"}, False)],
)
def test_path_parameters(given: dict[str, str], allowed: bool) -> None:
    text = 'permit (principal, action, resource) when { context.params has owner && context.params.owner == "acme" };'
    assert policies(text).judge(question(params=given)).allowed is allowed


@pytest.mark.parametrize(("amount", "allowed"), [(10, True), (11, False), (None, False)])
def test_body_fields_that_a_profile_names(amount: int | None, allowed: bool) -> None:
    text = "permit (principal, action, resource) when { context.fields has amount && context.fields.amount <= 10 };"
    fields = {} if amount is None else {"amount": amount}
    asked = question("refunds.create", profile="stripe", fields=fields)
    assert policies(text).judge(asked).allowed is allowed


class TestBehalf:
    """An agent that acts for a user: both must be allowed."""

    AGENT = 'permit (principal == Agent::"coder", action in Action::"call", resource);\n'
    USER = 'permit (principal == User::"alice", action in Action::"call", resource);\n'
    FREE = 'permit (principal, action in [Action::"callWithoutApproval"], resource);\n'

    @pytest.mark.parametrize(
        ("text", "allowed"), [(AGENT, False), (USER, False), (AGENT + USER, True), (ALL, True), ("", False)]
    )
    def test_both_must_be_allowed(self, text: str, allowed: bool) -> None:
        asked = question(agent=replace(CODER, user=ALICE))
        assert policies(text).judge(asked).allowed is allowed

    def test_the_stronger_wish_of_the_two_counts(self) -> None:
        for_agent = 'permit (principal is Agent, action == Action::"callWithoutApproval", resource);'
        found = policies(self.AGENT + self.USER + for_agent)
        assert found.judge(question()).strength is Strength.NONE
        assert found.judge(question(agent=replace(CODER, user=ALICE))).strength is Strength.STRONG

    def test_policies_may_look_at_the_user(self) -> None:
        text = 'permit (principal, action, resource) when { context has user && context.user in UserGroup::"staff" };'
        assert policies(text).judge(question(agent=replace(CODER, user=ALICE))).allowed
        assert not policies(text).judge(question(agent=replace(CODER, user=replace(ALICE, groups=())))).allowed
        assert not policies(text).judge(question()).allowed


@pytest.mark.parametrize(
    ("annotation", "wanted"),
    [("", Strength.NONE), ('@approval("approval")', Strength.APPROVAL), ('@approval("strong")', Strength.STRONG)],
)
def test_an_annotation_asks_for_an_approval(annotation: str, wanted: Strength) -> None:
    verdict = policies(f'{annotation} permit (principal, action == Action::"read", resource);', name="open").judge(
        question()
    )
    assert (verdict.allowed, verdict.strength) == (True, wanted)


def test_obligations_and_advice_come_from_the_policies_that_decided() -> None:
    text = """
        @id("few") @limit("10/h") @redact("/email /phone")
        permit (principal, action == Action::"read", resource);
        @id("none") @limit("1/d") permit (principal, action == Action::"write", resource);
        @id("closed") @advice("Ask in the morning.") forbid (principal, action == Action::"write", resource);
    """
    read, write = policies(text).judge(question(READ)), policies(text).judge(question(WRITE))
    assert (read.limits, read.redact) == ((Limit("few", 10, 3600),), ("/email", "/phone"))
    assert read.policies == ("few",)
    assert (write.limits, write.redact) == ((), ())
    assert (write.allowed, write.policies, write.advice) == (False, ("closed",), ("Ask in the morning.",))


def test_what_policies_look_at_is_seen_however_it_is_spelt() -> None:
    plain, spelt = "context.cost_microusd", 'context["cost\\u{5f}microusd"]'
    for text in (plain, spelt):
        assert policies(f"{ALL} forbid (principal, action, resource) when {{ {text} > 5 }};").speaks_of("cost_microusd")
    named = ALL + '@advice("cost_microusd") forbid (principal, action, resource) when { context.port == 1 };'
    assert not policies(named).speaks_of("cost_microusd")


def test_i_02_a_policy_that_cannot_be_evaluated_refuses() -> None:
    text = ALL + "forbid (principal, action, resource) when { context.cost_microusd * 9223372036854775807 > 5 };"
    verdict = policies(text).judge(question(cost_microusd=3))
    assert (verdict.allowed, verdict.failed) == (False, True)


def test_a_question_outside_the_schema_refuses() -> None:
    verdict = policies(ALL).judge(question(params={"unknown": "x"}))
    assert (verdict.allowed, verdict.failed) == (False, True)


NAMES = [
    'a"b',
    "a\nb",
    'x", action, resource); permit(principal',
    'Agent::"root"',
    "\u202eevil",
    "a\\",
    "\x00",
    "'; --",
]


@pytest.mark.parametrize("name", NAMES)
def test_i_10_names_are_never_read_as_cedar(name: str) -> None:
    agent = replace(CODER, name=name, groups=(name,))
    found = policies('permit (principal == Agent::"root", action, resource);')
    verdict = found.judge(question(agent=agent, params={"owner": name}, account=name))
    assert (verdict.allowed, verdict.failed) == (False, False)
    assert policies(ALL).judge(question(agent=agent, params={"owner": name}, account=name)).allowed


def test_every_preset_says_what_it_is() -> None:
    assert set(PRESETS) == {"open", "relaxed", "standard", "strict", "read-only"}
