"""P12, I-12: however policies speak of the risk, a higher one never allows more."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import ConfigError
from proxy.policy import Policies, Verdict
from proxy.policy.presets import PRESETS
from tests.policy.questions import VOCABULARY, policies, question

ANYONE = "principal, action, resource"


@pytest.mark.parametrize(
    ("effect", "condition", "good"),
    [
        ("permit", "when { context.risk < 30 }", True),
        ("permit", "when { 30 > context.risk }", True),
        ("permit", "when { context.risk > 30 }", False),
        ("permit", "when { 30 <= context.risk }", False),
        ("permit", "when { context.risk == 30 }", False),
        ("permit", "unless { context.risk > 30 }", True),
        ("permit", "unless { context.risk < 30 }", False),
        ("permit", "when { !(context.risk > 30) }", True),
        ("permit", "when { !(context.risk < 30) }", False),
        ("forbid", "when { context.risk > 30 }", True),
        ("forbid", "when { context.risk < 30 }", False),
        ("forbid", "unless { context.risk <= 30 }", True),
        ("permit", "when { context.hour < 3 || context.risk <= 5 }", True),
        ("permit", "when { context.hour < 3 && context.risk >= 5 }", False),
        ("permit", "when { if context.risk < 5 then true else false }", False),
        ("permit", "when { context.risk + 1 < 5 }", False),
        ("permit", "when { context.risk < context.risk }", False),
        ("permit", "when { [1, 2].contains(context.risk) }", False),
        ("permit", 'when { context.risk_reasons.contains("x") }', False),
        ("forbid", 'when { context.risk_reasons.contains("x") }', True),
        ("forbid", 'when { context.risk_reasons.containsAny(["x", "y"]) }', True),
        ("forbid", 'unless { context.risk_reasons.contains("x") }', False),
        ("permit", "when { context.risk_reasons == [] }", False),
        ("permit", "when { context has task && context.risk < 5 }", True),
        ('@approval("strong") permit', "when { context.risk < 30 }", False),  # beside another permit, it would go
        ('@redact("/email") permit', "unless { context.risk > 30 }", False),
        ('@limit("1/h") permit', "when { context has risk && context.hour < 6 }", True),
    ],
)
def test_p12_what_loosens_is_refused_at_load(effect: str, condition: str, good: bool) -> None:
    text = f"{effect}({ANYONE}) {condition};"
    if good:
        policies(text)
        return
    with pytest.raises(ConfigError, match="a higher risk must never"):
        policies(text)


def _restrictive(verdict: Verdict) -> tuple[bool, int]:
    return (not verdict.allowed, verdict.strength)


_atoms = st.sampled_from(
    [
        "context.risk < 20", "context.risk <= 50", "context.risk > 20", "context.risk >= 50", "80 > context.risk",
        "context.hour < 6", "context.cost_microusd <= 5", 'context.risk_reasons.contains("new")', "true", "false",
    ]
)  # fmt: skip
_conditions = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda one: f"!({one})"),
        st.tuples(inner, inner, inner).map(lambda t: f"(if {t[0]} then {t[1]} else {t[2]})"),
    ),
    max_leaves=5,
)
_policy = st.tuples(
    st.sampled_from(["permit", "forbid", '@approval("approval") permit']),
    st.sampled_from(['action in Action::"call"', 'action == Action::"callWithoutApproval"', "action"]),
    st.sampled_from(["when", "unless"]),
    _conditions,
).map(lambda t: f"{t[0]}(principal, {t[1]}, resource) {t[2]} {{ {t[3]} }};")


@settings(max_examples=150, deadline=None)
@given(
    texts=st.lists(_policy, min_size=1, max_size=4),
    preset=st.sampled_from([None, *PRESETS]),
    low=st.integers(0, 100),
    more=st.integers(1, 100),
)
def test_p12_a_higher_risk_never_allows_more(texts: list[str], preset: str | None, low: int, more: int) -> None:
    kept = []
    for text in texts:
        try:
            Policies.load([("one.cedar", text)], VOCABULARY)
        except ConfigError:
            continue
        kept.append(text)
    found = policies("\n".join(kept), name=preset)
    lower = found.judge(question(risk=low))
    higher = found.judge(question(risk=min(100, low + more), risk_reasons=("new",)))
    assert _restrictive(higher) >= _restrictive(lower)
