"""Mistakes in the block `risk`."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.catalog.modes import mode_mistakes
from proxy.catalog.risk_checks import anchored, risk_mistakes
from proxy.risk_settings import RiskSettings
from proxy.settings import Settings

URL = "https://risk.example/score"


def found(**risk):
    return [
        "/".join(map(str, place)) for place, _ in risk_mistakes(Settings.model_validate({"version": 1, "risk": risk}))
    ]


@pytest.mark.parametrize(
    ("risk", "places"),
    [
        ({"profiles": {"nobody": {"approval_at": 3}}}, ["risk/profiles/nobody"]),
        ({"classifier": {"url": "https://user:pw@risk.example/"}}, ["risk/classifier/url"]),
        ({"classifier": {"url": URL, "token": "secret-itself"}}, ["risk/classifier/token"]),
        ({"classifier": {"url": URL, "ca_bundle": "/nowhere.pem"}}, ["risk/classifier/ca_bundle"]),
        ({"classifier": {"url": URL, "token": "file:/run/t"}}, []),
        ({}, []),
    ],
)
def test_what_is_a_mistake(risk, places):
    assert found(**risk) == places


@pytest.mark.parametrize(
    "risk",
    [
        {"approval_at": 0},
        {"approval_at": 101},
        {"classifier": {"url": "http://risk.example/"}},
        {"classifier": {"url": URL, "timeout_s": 5.0}},
        {"working_hours": {"from_hour": 20, "until_hour": 7}},
        {"look_bytes": 300_000},
        {"aproval_at": 3},
    ],
)
def test_what_the_schema_refuses(risk):
    with pytest.raises(ValueError, match="validation error"):
        RiskSettings.model_validate(risk)


def test_in_ga_a_classifier_s_token_does_not_come_from_the_environment():
    risk = {"classifier": {"url": URL, "token": "env:TOKEN"}}
    settings = Settings.model_validate({"version": 1, "mode": "ga", "risk": risk})
    assert ("risk", "classifier", "token") in [place for place, _ in mode_mistakes(settings, {})]


def test_a_relative_bundle_counts_from_the_file():
    settings = RiskSettings.model_validate({"classifier": {"url": URL, "ca_bundle": Path("ca.pem")}})
    placed = anchored(settings, Path("/etc/briefcased"))
    assert placed.classifier is not None
    assert placed.classifier.ca_bundle == Path("/etc/briefcased/ca.pem")
    assert anchored(RiskSettings(), Path("/etc")) == RiskSettings()
