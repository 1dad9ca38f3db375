"""`briefcased run` without a configuration: a profile that an agent logs in to by itself is enabled only by name."""

from __future__ import annotations

import pytest

from proxy.catalog.configuration import mistakes
from proxy.catalog.loader import load_profiles, shipped
from proxy.cli.zero import zero_configuration
from proxy.errors import BriefcaseError

TOKEN = {"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-0123456789", "OPENAI_API_KEY": "sk-0123456789"}


def found(environment, allow=None):
    profiles = load_profiles([shipped()])
    settings = zero_configuration(profiles, environment, allow=allow, pass_unmatched=False)
    assert list(mistakes(settings, profiles)) == []
    return {name: list(entry.accounts["default"].secrets) for name, entry in settings.providers.items()}


def test_what_the_environment_names_is_enabled_and_nothing_that_needs_no_secret():
    assert found(TOKEN) == {"anthropic": ["auth_token"], "openai": ["api_key"]}


def test_a_profile_with_a_login_is_enabled_by_its_name():
    assert found({}, ("codex", "claudecode")) == {"codex": [], "claudecode": []}


def test_a_profile_that_needs_a_secret_is_not():
    with pytest.raises(BriefcaseError, match="ANTHROPIC_API_KEY"):
        found({}, ("anthropic",))
