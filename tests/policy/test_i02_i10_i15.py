"""I-02, I-10, I-15: attributes that are missing, texts that look like Cedar, and rights that are taken away."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.model import User
from proxy.policy.presets import PRESETS
from proxy.policy.question import Question
from tests.policy.questions import ALICE, CODER, HEAD, policies, question

if TYPE_CHECKING:
    from proxy.policy import Verdict
    from proxy.policy.question import Value

TEXT = """
@id("reads") permit (principal, action == Action::"read", resource) when { context.path like "/repos/*" };
@id("mine") permit (principal, action, resource) when { context.params has owner && context.params.owner == "acme" };
@id("small") permit (principal, action, resource) when { context has body_bytes && context.body_bytes < 10 };
@id("staff") permit (principal, action, resource) when { context has user && context.user in UserGroup::"staff" };
@id("cheap") permit (principal, action, resource) when { context has budget_left_microusd && context.budget_left_microusd > 5 };
@id("night") forbid (principal, action, resource) when { context.hour > 22 };
@id("dear") forbid (principal, action, resource) unless { context.cost_microusd < 100 };
@id("named") forbid (principal, action, resource) unless { context.params has repo };
"""
OPTIONAL = {"body_bytes", "task", "user", "budget_left_microusd"}
FULL = question(
    agent=replace(CODER, user=ALICE, task="t"), params={"owner": "acme", "repo": "site"}, body_bytes=5,
    budget_left_microusd=9, head=replace(HEAD, has_body=True), fields={"amount": 3}, risk_reasons=("odd",),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Changed(Question):
    """A question of which one attribute of the context is gone, or of another type."""

    without: str = ""
    instead: Value | None = None

    def context(self) -> dict[str, Value]:
        whole = Question.context(self)
        kept = {name: value for name, value in whole.items() if name != self.without}
        return kept if self.instead is None else {**kept, self.without: self.instead}


def changed(without: str, instead: Value | None = None) -> Changed:
    fields = {name: getattr(FULL, name) for name in Question.__dataclass_fields__}
    return Changed(**fields, without=without, instead=instead)


def strict(verdict: Verdict) -> tuple[bool, int]:
    return (not verdict.allowed, verdict.strength)


@pytest.mark.parametrize("preset", [None, *PRESETS])
def test_i02_without_an_attribute_a_decision_only_gets_stricter(preset: str | None) -> None:
    """A forbid that itself says `context has x` is silent where x is not; `unless` is the form that is not."""
    found = policies(TEXT, name=preset)
    was = found.judge(FULL)
    assert was.allowed
    for name in FULL.context():
        now = found.judge(changed(name))
        assert strict(now) >= strict(was), name
        assert now.failed == (name not in OPTIONAL), name


def test_i02_an_attribute_of_another_type_refuses() -> None:
    found = policies(TEXT)
    others: tuple[Value, ...] = ("text", 7, True, ["a"], {"a": 1})
    for name, value in FULL.context().items():
        for instead in others:
            now = found.judge(changed(name, instead))
            fits = type(value) is type(instead) and name not in ("params", "fields", "now", "user")
            assert now.failed != fits, (name, instead)
            assert not (now.allowed and now.failed)


HOSTILE = st.one_of(
    st.text(max_size=12),
    st.sampled_from([
        'coder"', '\\"coder', 'coder" || true || "', 'x"; permit(principal, action, resource); //', "coder\n", "coder\0",
        'Agent::"coder"', "coder::x", "\u202ecoder", "\u0441oder", "*", "", " coder", "CODER", "\\u0063oder",
    ]),
)  # fmt: skip
GROUPED = functools.cache(
    lambda: policies(
        'permit (principal == Agent::"coder", action, resource) when { context.path == "/ok" };'
        'permit (principal in AgentGroup::"builders", action, resource) when { context.params has owner && context.params.owner == "acme" };'
        'permit (principal in Tenant::"acme", action, resource) when { context has user && context.user == User::"alice" };'
    )
)


@settings(max_examples=40, deadline=None)
@given(name=HOSTILE, group=HOSTILE, tenant=HOSTILE, path=HOSTILE, owner=HOSTILE, user=HOSTILE)
def test_i10_texts_are_values_whatever_stands_in_them(
    name: str, group: str, tenant: str, path: str, owner: str, user: str
) -> None:
    agent = replace(CODER, name=name, groups=(group,), tenant=tenant, user=User(user, ("*",), tenant))
    asked = question(agent=agent, head=replace(HEAD, path=path), params={"owner": owner})
    is_alice = user == "alice"
    for_agent = (name == "coder" and path == "/ok") or (group == "builders" and owner == "acme") or (
        tenant == "acme" and is_alice
    )  # fmt: skip
    for_user = tenant == "acme" and is_alice
    try:
        allowed = GROUPED().judge(asked).allowed
    except ValueError:  # what is no Unicode: the guard refuses it
        allowed = False
    assert allowed == (for_agent and for_user)


def test_i15_a_right_that_is_taken_away_is_gone_at_once() -> None:
    """Nothing is cached by name: what is kept between questions has the agent's groups and tenant in its key."""
    found = policies('permit (principal in AgentGroup::"builders", action, resource);')
    for _ in range(3):
        assert found.judge(question()).allowed
        assert not found.judge(question(agent=replace(CODER, groups=()))).allowed
        assert not found.judge(question(agent=replace(CODER, groups=("others",)))).allowed
    of_tenant = policies('permit (principal in Tenant::"acme", action, resource);')
    assert of_tenant.judge(question()).allowed
    assert not of_tenant.judge(question(agent=replace(CODER, tenant="other"))).allowed
