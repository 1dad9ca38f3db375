"""docs/risk.md has every rule with its points and sentence, and every feature that a classifier is sent."""

from __future__ import annotations

import orjson

from proxy.model import Agent
from proxy.risk import score
from proxy.risk.features import question
from proxy.risk.rules import RULES
from proxy.risk_settings import USUAL
from tests.docs import pages
from tests.risk.calls import call

PAGE = pages.text("risk.md")


def test_the_table_of_rules_is_the_code_s():
    rows = [(row[0].strip("`"), int(row[1]), row[2]) for row in pages.table(PAGE, "rule")]
    assert rows == [(rule.code, rule.points, rule.text) for rule in RULES]


def test_the_table_of_features_is_the_code_s():
    made = call("x")
    sent = orjson.loads(question(made, score(made), Agent("a", (), "t"), key=b"k", body=True))
    named = [span for row in pages.table(PAGE, "feature") for span in pages.SPAN.findall(row[0])]
    assert sorted(named) == sorted(sent)


def test_the_usual_thresholds_are_the_code_s():
    said = f"an approval from {USUAL.approval_at} on and a strong one from {USUAL.strong_at} on"
    assert said in " ".join(PAGE.split())
