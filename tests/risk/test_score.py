"""P12: what the score adds up to, what follows from it, and that more of it never allows more."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.catalog.configuration import Configuration
from proxy.decision import Decision, decide
from proxy.errors import Denial
from proxy.generation import build_generation
from proxy.model import Action, Mode, Strength
from proxy.policy import Policies, Vocabulary
from proxy.policy.presets import preset
from proxy.risk import UNKNOWN, Advice, Circumstances, Past, Risk, Usage, score
from proxy.risk.score import Hit
from proxy.risk_settings import USUAL, RiskSettings, Thresholds
from proxy.settings import Settings
from tests.risk.calls import HOST, HOUR, KNOWN, call
from tests.test_decide import AGENTS, NOW_MS, PROFILES, head

POLICIES = """
@id("calm") permit (principal, action == Action::"callWithoutApproval", resource) when { context.risk < 30 };
@id("not-wild") permit (principal, action == Action::"callWithoutStrongApproval", resource) when { context.risk < 60 };
@id("call") permit (principal, action in Action::"call", resource);
@id("never") forbid (principal, action, resource) when { context.risk > 90 || context.risk_reasons.contains("ssn") };
"""
PRESETS = ("open", "standard", "own")


def generation(policies="open", **risk):
    built = built_with(policies)
    return replace(built, settings=built.settings.model_copy(update={"risk": RiskSettings.model_validate(risk)}))


@cache
def built_with(policies):
    accounts = {"alpha": {"accounts": {"work": {"secrets": {"token": "file:/w"}}}}}
    loaded = Settings.model_validate({"version": 1, "providers": accounts})
    operations = {f"alpha:{one.id}": one.action.value for one in PROFILES["alpha"].operations}
    source = ("own.cedar", POLICIES) if policies == "own" else preset(policies)
    rules = Policies.load([source], Vocabulary(operations=operations))
    return build_generation(1, Configuration(loaded, PROFILES, rules), AGENTS.values(), stand_in_key=b"k" * 32)


def known(host="api.alpha.example"):
    uses = {("alpha", one.id): Usage(NOW_MS // 3_600_000, 1, 10) for one in PROFILES["alpha"].operations}
    return Circumstances(Past(uses, frozenset({host})))


def strictness(found: Decision | Denial) -> int:
    return 3 if isinstance(found, Denial) else int(found.ruling.strength)


def decided(of, circumstances, body=None, target="/x", method="POST"):
    sent = head(method, target, has_body=body is not None, content_length=len(body) if body is not None else None)
    return decide(of, AGENTS["all"], sent, body, now_ms=NOW_MS, circumstances=circumstances)


def test_points_add_up_to_a_hundred_at_most():
    risk = score(call("219-09-9999 and DE89370400440532013000"))
    assert (risk.score, risk.codes) == (80, ("iban", "ssn"))
    assert score(call("219-09-9999 DE89370400440532013000 -----BEGIN RSA PRIVATE KEY-----")).score == 100


def test_the_settings_say_other_points_and_turn_rules_off():
    assert score(call("219-09-9999", settings={"points": {"ssn": 7}})).score == 7
    assert score(call("219-09-9999", settings={"points": {"ssn": 0}})) == Risk()


@pytest.mark.parametrize("code", ["past_unknown", "body_unseen", "nothing"])
def test_p5_what_stands_for_the_unknown_cannot_be_turned_off(code):
    with pytest.raises(ValueError, match="points"):
        RiskSettings.model_validate({"points": {code: 0}})


@pytest.mark.parametrize(
    ("points", "strength", "refused"),
    [(0, 0, False), (29, 0, False), (30, 1, False), (60, 2, False), (89, 2, False), (90, 2, True), (100, 2, True)],
)
def test_what_follows_from_a_score(points, strength, refused):
    thresholds = Thresholds(approval_at=30, strong_at=60, refuse_at=90)
    risk = Risk(points, (Hit("ssn", points, "."),))
    assert (risk.strength(thresholds), risk.refused(thresholds)) == (strength, refused)
    assert risk.strength(Thresholds()) is Strength.NONE


def test_a_strong_threshold_alone_counts():
    assert Risk(70).strength(Thresholds(strong_at=60)) is Strength.STRONG
    assert Risk(70, least=Strength.APPROVAL).strength(Thresholds()) is Strength.APPROVAL


def test_a_profile_s_thresholds_only_tighten_and_modes_have_usual_ones():
    own = RiskSettings.model_validate({"approval_at": 40, "profiles": {"a": {"approval_at": 60, "refuse_at": 90}, "b": {"approval_at": 20}}})  # fmt: skip
    assert own.thresholds("a", Mode.GA) == Thresholds(approval_at=40, refuse_at=90)
    assert own.thresholds("b", Mode.GA) == Thresholds(approval_at=20)
    assert own.thresholds("c", Mode.GA) == Thresholds(approval_at=40)
    unset = RiskSettings()
    assert unset.thresholds("a", Mode.REFERENCE) == Thresholds()
    assert unset.thresholds("a", Mode.STAGING) == unset.thresholds("a", Mode.GA) == USUAL


def test_a_call_that_is_too_risky_is_refused_with_codes_only():
    found = decided(generation(refuse_at=40), known(), b"ssn 219-09-9999")
    assert isinstance(found, Denial)
    assert (found.slug, found.by, found.extra) == ("policy_denied", "risk", {"risk_reasons": ["ssn"]})


def test_the_reasons_of_both_stand_in_one_question():
    found = decided(generation("standard", approval_at=40), known(), b"ssn 219-09-9999")
    assert isinstance(found, Decision)
    assert [(one.code, one.by) for one in found.ruling.reasons] == [("policy", "policy"), ("ssn", "risk")]


def test_policies_judge_the_score_and_its_reasons():
    found = decided(generation("own"), known(), b"ssn 219-09-9999")
    assert isinstance(found, Denial)
    assert found.extra["policies"] == ["never"]
    found = decided(generation("own"), known(), b"-----BEGIN PRIVATE KEY-----")
    assert isinstance(found, Decision)
    assert (found.ruling.strength, found.ruling.risk.codes) == (Strength.STRONG, ("private_key",))


def test_i12_what_is_not_known_counts_as_the_highest():
    found = decided(generation(approval_at=100), UNKNOWN)
    assert isinstance(found, Decision)
    assert (found.ruling.strength, found.ruling.risk.score) == (Strength.APPROVAL, 100)
    assert "past_unknown" in found.ruling.risk.codes
    silent = known().advised(Advice(score=100, available=False))
    assert decided(generation(refuse_at=100), silent).by == "risk"
    assert (
        decided(generation(), known().advised(Advice(strength=Strength.APPROVAL, available=False))).ruling.strength == 1
    )


def test_a_body_that_is_to_be_looked_at_is_asked_for_and_then_decides():
    of = generation(bodies="always", approval_at=40)
    sent = head("POST", "/x", has_body=True, content_length=15)
    first = decide(of, AGENTS["all"], sent, now_ms=NOW_MS, circumstances=known())
    assert isinstance(first, Decision)
    assert (first.wants_body, first.ruling.strength) == (True, Strength.NONE)
    whole = decide(of, AGENTS["all"], sent, b"ssn 219-09-9999", now_ms=NOW_MS, circumstances=known())
    assert isinstance(whole, Decision)
    assert (whole.wants_body, whole.ruling.strength) == (False, Strength.APPROVAL)


ADVICE = st.builds(Advice, st.integers(0, 100), st.just(()), st.sampled_from(Strength), st.booleans())
PAST = st.sampled_from([known().past, None, Past(), Past({}, frozenset({"api.alpha.example"}))])
BODY = st.sampled_from([None, b"", b"hello", b"ssn 219-09-9999", b"4111111111111111", b"-----BEGIN PRIVATE KEY-----"])
THRESHOLD = st.one_of(st.none(), st.integers(1, 100))
PARTS = st.fixed_dictionaries({"approval_at": THRESHOLD, "strong_at": THRESHOLD, "refuse_at": THRESHOLD})


@given(
    st.sampled_from(PRESETS),
    PARTS,
    PAST,
    ADVICE,
    BODY,
    st.sampled_from(["GET", "POST", "DELETE"]),
    st.sampled_from(["/x", "/x?q=%2541"]),
)
@settings(max_examples=60, deadline=None)
def test_p12_with_risk_the_decision_is_at_least_as_strict(policies, thresholds, past, advice, body, method, target):
    of = generation(policies, **thresholds)
    calm = decided(generation(policies), known(), b"hello" if body is not None else None, "/x", method)
    risky = decided(of, Circumstances(past, advice), body, target, method)
    assert strictness(risky) >= strictness(calm)


@given(st.sampled_from(PRESETS), PARTS, PAST, ADVICE, ADVICE, BODY)
@settings(max_examples=40, deadline=None)
def test_p12_more_advice_never_allows_more(policies, thresholds, past, first, second, body):
    of = generation(policies, **thresholds)
    known_ = Circumstances(past)
    none, one = decided(of, known_, body), decided(of, known_.advised(first), body)
    both = decided(of, known_.advised(first).advised(second), body)
    assert strictness(none) <= strictness(one) <= strictness(both)


def test_the_usual_call_of_these_tests_has_no_risk():
    assert decided(generation(), known(), b"hello").ruling.risk == Risk()
    assert score(call("hello", known=KNOWN)).score == 0
    assert (call().head.authority.host, call().now_ms // 3_600_000, call().action) == (HOST, HOUR, Action.WRITE)
