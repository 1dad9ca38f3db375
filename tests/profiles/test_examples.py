"""The examples of the shipped profiles agree with their operations; elsewhere they are run."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from proxy.errors import KINDS
from tests.profiles.conftest import PROFILES, call_of, host_of, operation_of, resolve

EXAMPLES = [(profile, example) for profile in PROFILES.values() for example in profile.examples]


def test_there_are_examples_of_each_kind(profile):
    actions = [
        operation_of(profile, example.expect.operation).action
        for example in profile.examples
        if example.expect.denied is None and example.expect.operation is not None
    ]
    assert len(profile.examples) >= 3
    assert "read" in actions
    assert "write" in actions
    assert any(example.expect.denied for example in profile.examples)
    assert len({example.name for example in profile.examples}) == len(profile.examples)


@pytest.mark.parametrize(("profile", "example"), EXAMPLES, ids=lambda value: getattr(value, "name", None))
def test_examples_agree_with_the_operations(profile, example):
    expect = example.expect
    found = resolve(profile, call_of(example.request.method, example.request.url, example.request.body))
    assert (found.id if found else None) == expect.operation
    assert set(example.account_secrets) <= set(profile.secrets)
    match expect.denied:
        case "operation_not_allowed":
            assert found is None
        case "policy_denied":
            assert found is not None
            assert found.action == "admin"
        case None:
            assert found is not None
            assert found.action != "admin"
            assert expect.answered or expect.upstream_headers or expect.upstream_path or expect.upstream_absent_headers
        case other:
            assert other in KINDS
    host = urlsplit(example.request.url).hostname
    rule = next(rule for rule in profile.hosts if host_of(rule, profile) == host)
    assert any(urlsplit(example.request.url).path.startswith(prefix) for prefix in rule.paths)


@pytest.mark.parametrize(("profile", "example"), EXAMPLES, ids=lambda value: getattr(value, "name", None))
def test_p1_examples_hold_no_real_looking_secret(profile, example):
    text = example.model_dump_json()
    for slot in profile.secrets.values():
        for prefix in slot.prefixes:
            assert not re.search(re.escape(prefix) + r"[A-Za-z0-9_-]{8,}", text), prefix
