"""What is checked before anything runs: the extra, wildcards, limits; and that the check can fail."""

from __future__ import annotations

import sys

import pytest
from pydantic import ValidationError

from proxy.aws.signing import MISSING, CannotSignError, Keys, Scope, Unsigned, sign_headers
from proxy.catalog.checks import profile_mistakes
from proxy.catalog.configuration import mistakes
from proxy.catalog.loader import load_profiles, shipped
from proxy.catalog.schema import Profile
from proxy.cli.zero import zero_configuration
from proxy.documents import Document
from proxy.errors import BriefcaseError
from proxy.settings import Settings

FOUND = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE00", "AWS_SECRET_ACCESS_KEY": "k" * 40}
PROFILE = """\
schema: 1
name: x
title: X
docs: https://x.test/
checked: "2026-11-25"
hosts: [{{host: "{host}"}}]
secrets:
  access_key_id: {{env: [A]}}
  secret_access_key: {{env: [B]}}
  session_token: {{env: [C]}}
credentials:
  keys: {{kind: aws, services: s3, regions: "*"}}
{more}
operations:
  - {{id: read, methods: [GET], path: "/**", action: read}}
"""
BEARER = '  bearer: {kind: header, prefix: "Bearer ", secret: session_token}'


@pytest.fixture
def profiles():
    return load_profiles([shipped()])


def aws_settings(**account):
    keys = {"access_key_id": "env:A", "secret_access_key": "env:B"}
    return Settings.model_validate(
        {"version": 1, "providers": {"aws": {"accounts": {"main": {"secrets": keys, **account}}}}}
    )


def wrong(text):
    return [message for _, message in profile_mistakes(Document("x", text).validated(Profile))]


def test_without_the_extra_a_configuration_that_needs_it_says_so(monkeypatch, profiles):
    assert list(mistakes(aws_settings(), profiles)) == []
    assert zero_configuration(profiles, FOUND, allow=None, pass_unmatched=False).providers.keys() == {"aws"}
    monkeypatch.setitem(sys.modules, "awscrt", None)
    assert [message for _, message in mistakes(aws_settings(), profiles)] == [MISSING]
    assert not zero_configuration(profiles, FOUND, allow=None, pass_unmatched=True).providers
    with pytest.raises(BriefcaseError, match="extra aws"):
        zero_configuration(profiles, FOUND, allow=("aws",), pass_unmatched=True)
    with pytest.raises(CannotSignError):
        sign_headers(Unsigned("GET", "x", "/"), Keys("a", "b"), Scope("s3", "us-east-1"), payload="0" * 64, at_s=0)


def test_a16_a_wildcard_among_customers_names_is_for_what_is_of_no_use_elsewhere():
    below = "*.s3.eu-west-1.amazonaws.com"
    assert wrong(PROFILE.format(host=below, more="")) == []
    assert any("public suffix" in message for message in wrong(PROFILE.format(host=below, more=BEARER)))
    assert any("public suffix" in message for message in wrong(PROFILE.format(host="*.co.uk", more="")))


def test_limits_have_to_be_said():
    for name in ("services: s3, ", 'regions: "*"'):
        with pytest.raises((ValidationError, BriefcaseError)):
            Document("x", PROFILE.format(host="s3.amazonaws.com", more="").replace(name, "")).validated(Profile)


def test_variables_of_an_account_fit(profiles):
    good = {
        "role_arn": "arn:aws:iam::123456789012:role/a/b",
        "regions": "eu-*",
        "services": "s3,bedrock",
        "external_id": "x-17",
    }
    assert list(mistakes(aws_settings(variables=good), profiles)) == []
    for name in good:
        assert list(mistakes(aws_settings(variables={**good, name: "no thanks; really"}), profiles)) != [], name
