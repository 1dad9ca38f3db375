"""What every shipped profile must be, without running it."""

from __future__ import annotations

import re

import pytest
from publicsuffixlist import PublicSuffixList

from proxy import credentials
from proxy.catalog import schema
from proxy.catalog.schema import Profile
from proxy.credentials.basic import BasicCredential
from proxy.credentials.body_field import BodyFieldCredential
from proxy.credentials.cookie import CookieCredential
from proxy.credentials.digest import DigestCredential
from proxy.credentials.frames import FramesCredential
from proxy.credentials.header import HeaderCredential
from proxy.credentials.hmac import HmacCredential
from proxy.credentials.path import PathCredential
from proxy.credentials.query import QueryCredential
from proxy.credentials.several import SeveralCredentials
from proxy.documents import Strict
from proxy.egress.addresses import is_metadata
from tests.profiles.conftest import FILES, FOLDER, PROFILES

SHIPPED = {
    "anthropic", "azureopenai", "coinbase", "datadog", "discord", "gemini", "github", "gitlab", "google", "huggingface", "kraken", "linear", "mongodb_atlas", "notion", "openai", "openrouter", "openweathermap", "sentry", "slack", "snowflake", "stripe", "telegram", "vertex",
    "claudecode", "codex", "geminicli",
    "aws",
}  # fmt: skip
RANDOM_PART = re.compile(r"\{(?:base32|base62|hex|digits|base64url):(\d+)\}")


def leaves(
    profile: Profile,
) -> list[
    HeaderCredential
    | BasicCredential
    | QueryCredential
    | CookieCredential
    | PathCredential
    | BodyFieldCredential
    | FramesCredential
    | HmacCredential
    | DigestCredential
]:
    """The profile's credentials with `several` unfolded."""
    found = []
    for spec in profile.credentials.values():
        found.extend(spec.parts if isinstance(spec, SeveralCredentials) else (spec,))
    return found


def test_exactly_these_are_shipped():
    assert {path.stem for path in FILES} == SHIPPED


def test_the_file_carries_the_name_of_its_profile():
    assert {path.stem: PROFILES[path.stem].name for path in FILES} == {name: name for name in SHIPPED}


def test_facts_carry_their_source_and_date(profile):
    assert profile.docs.startswith("https://")
    assert profile.checked >= "2026-11-23"


def test_ids_are_unique(profile):
    ids = [operation.id for operation in profile.operations]
    assert len(ids) == len(set(ids))


def test_every_name_refers_to_something(profile):
    hosts = {rule.host for rule in profile.hosts}
    for operation in profile.operations:
        assert set(operation.hosts) <= hosts, operation.id
        assert set(operation.credentials) <= set(profile.credentials), operation.id
        assert not (operation.anonymous and operation.credentials), operation.id
    for spec in leaves(profile):
        used = spec.secret_names() | spec.optional_secret_names()
        assert used or spec.key_names() or spec.mints, spec
        assert used <= set(profile.secrets), spec
        assert spec.variable_names() <= set(profile.variables), spec


def test_every_secret_is_used(profile):
    text = "".join(spec.model_dump_json() for spec in leaves(profile))
    for operation in profile.operations:  # what is minted is given out by an operation
        text += operation.answer.model_dump_json() if operation.answer else ""
        text += operation.capture.model_dump_json() if operation.capture else ""
    assert [name for name in profile.secrets if f'"{name}"' not in text and f"{{{name}}}" not in text] == []


@pytest.mark.parametrize("private_section", [True, False])
def test_no_wildcard_reaches_a_public_suffix(profile, private_section):
    suffixes = PublicSuffixList(only_icann=not private_section)
    for rule in profile.hosts:
        assert rule.scheme == "https" or (rule.token_host and is_metadata(rule.host))
        assert rule.host == rule.host.lower()
        assert rule.host.isascii()
        name = rule.host.removeprefix("*.")
        assert suffixes.privatesuffix(name) is not None or bound(profile) or is_metadata(name), rule.host
        assert "*" not in rule.host.removeprefix("*.")


def bound(profile):
    """Whether all that it sends is of no use at another host."""
    return all(spec.bound_to_request for spec in leaves(profile))


def test_shipped_profiles_send_credentials_to_exact_names_only(profile):
    """Or to the one host that an account is pinned to."""
    wild = [rule.host for rule in profile.hosts if "*" in rule.host and rule.account_host is None]
    assert wild == [] or bound(profile)


def test_stand_ins_look_like_the_vendors_tokens(profile):
    for name, slot in profile.secrets.items():
        shape = slot.stand_in
        text = shape.template if shape.template is not None else shape.prefix
        assert not slot.prefixes or text.startswith(slot.prefixes), name
        assert slot.env or slot.minted, name
        if shape.template is not None:
            assert sum(int(size) for size in RANDOM_PART.findall(shape.template)) >= (
                16 if name == "access_key_id" else 20
            ), name
            assert "{" not in RANDOM_PART.sub("", shape.template), name


def test_what_the_agent_may_have_sent_in_a_credentials_place_is_stripped(profile):
    headers = {header.lower() for header in profile.strip_headers}
    for spec in leaves(profile):
        match spec:
            case HeaderCredential():
                assert spec.header.lower() in headers, spec
            case BasicCredential() | DigestCredential():
                assert "authorization" in headers, spec
            case QueryCredential():
                assert spec.parameter in profile.strip_query, spec
            case CookieCredential():
                assert "cookie" in headers, spec
            case HmacCredential():
                assert {name.lower() for name in spec.headers} <= headers, spec
                assert set(spec.query) <= set(profile.strip_query), spec
            case PathCredential() | BodyFieldCredential() | FramesCredential():
                pass


@pytest.mark.parametrize(("name", "headers"), [
    ("openai", {"OpenAI-Organization", "OpenAI-Project"}),
    ("gemini", {"X-Goog-User-Project"}),
    ("stripe", {"Stripe-Context", "Stripe-Account"}),
    ("gitlab", {"Sudo"}),
    ("huggingface", {"X-HF-Bill-To"}),
    ("anthropic", {"anthropic-workspace-id"}),
])  # fmt: skip
def test_headers_that_choose_the_account_belong_to_it(name, headers):
    assert headers <= set(PROFILES[name].owned_headers)


def test_the_page_about_profiles_names_every_field_and_every_profile():
    docs = FOLDER.parent / "docs"
    page = (docs / "profiles.md").read_text()
    kinds = "".join(path.read_text() for path in (docs / "credentials").iterdir())
    fields = {
        info.alias or name
        for model in (*vars(schema).values(), *vars(credentials).values())
        if isinstance(model, type) and issubclass(model, Strict)
        for name, info in model.model_fields.items()
    }
    assert [field for field in sorted(fields) if f"`{field}`" not in page + kinds] == []
    assert set(re.findall(r"^\| `([a-z_]+)` \| \[", page, flags=re.MULTILINE)) == SHIPPED


def test_an_encoded_slash_is_data_only_where_ids_and_revisions_have_them():
    assert {name for name, profile in PROFILES.items() if profile.encoded_slash} == {"aws", "gitlab", "huggingface"}
