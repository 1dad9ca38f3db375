"""The environment of a program that nobody trusts: a table over pure functions."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from proxy.catalog.loader import load_profiles, shipped
from proxy.cli.variables import named_in, places, without_secrets
from proxy.model import AccountId
from proxy.settings import Account, Certificates, Provider, Settings

TOKEN = "ghp_REAL/123456789+bcdefghijklmnopqrstuv"
STAND_IN = "ghp_StandIn/3456789+bcdefghijklmnopqrstu"
PROFILES = load_profiles([shipped()])


def of(value: str, **further: str) -> dict[str, str]:
    clean, _ = without_secrets(
        {"GITHUB_TOKEN": TOKEN, "OPENAI_API_KEY": "sk-not-enabled", "OTHER": value, **further},
        PROFILES,
        {"GITHUB_TOKEN": STAND_IN},
    )
    return clean


@pytest.mark.parametrize(
    "form",
    [
        lambda token: token,
        lambda token: f"https://x:{token}@github.com/a",
        lambda token: f"https://x:{quote(token, safe='')}@github.com/a",
        lambda token: token.encode().hex(),
        lambda token: base64.b64encode(token.encode()).decode(),
        lambda token: "basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode(),
        lambda token: base64.urlsafe_b64encode(f"ab:{token}\n".encode()).decode(),
        lambda token: '{"token": "' + token.replace("/", "\\/") + '"}',
    ],
    ids=["plain", "url", "percent", "hex", "base64", "basic", "base64url", "json"],
)
def test_p1_every_form_of_a_secret_becomes_the_same_form_of_its_stand_in(form):
    clean = of(form(TOKEN))
    assert clean["GITHUB_TOKEN"] == STAND_IN
    assert clean["OTHER"] == form(STAND_IN)


def test_p1_without_a_stand_in_the_value_goes():
    clean = of("a sk-not-enabled b")
    assert "OPENAI_API_KEY" not in clean
    assert clean["OTHER"] == "a  b"


def test_p1_a_variable_that_cannot_be_cleaned_is_removed():
    assert "OTHER" not in of("sk-not-sk-not-enabledenabled")  # what remains is the value again


def test_p1_what_the_sidecar_knows_is_replaced_too():
    def scrub(text: bytes) -> bytes:
        return text.replace(b"from-a-file", b"stand-in")

    clean, taken = without_secrets({"A": "x from-a-file", "B": "x"}, PROFILES, {}, scrub=scrub)
    assert clean == {"A": "x stand-in", "B": "x"}
    assert taken == ["A"]


def test_p1_a_named_variable_is_known():
    clean, taken = without_secrets({"MINE": "s3cret-value", "A": "s3cret-value"}, PROFILES, {}, named={"MINE"})
    assert clean == {"A": ""}
    assert taken == ["A", "MINE"]


def test_bytes_that_are_not_text_are_left_as_they_are():
    odd = b"\xff\xfe".decode("utf-8", "surrogateescape")
    assert of(odd)["OTHER"] == odd
    assert of(f"{odd} {TOKEN}")["OTHER"] == f"{odd} {STAND_IN}"


def test_what_two_variables_hold_is_replaced_by_the_stand_in_that_there_is():
    assert of(f"x {TOKEN}", STRIPE_API_KEY=TOKEN)["OTHER"] == f"x {STAND_IN}"


def settings(**accounts: str) -> Settings:
    described = {name: Account(secrets={"token": ref}) for name, ref in accounts.items()}
    return Settings(
        version=1,
        providers={"github": Provider(accounts=described)},
        certificates=Certificates(issuer_certificate="/ca.pem", issuer_key="env:CA_KEY"),
    )


def test_p1_every_variable_that_the_file_names_is_known():
    assert named_in(settings(work="env:WORK", home="file:/home")) == {"WORK", "CA_KEY"}


def test_a_named_variable_gets_the_stand_in_of_its_own_account():
    found = places(settings(work="env:WORK", home="env:GITHUB_TOKEN"), PROFILES)
    assert found["WORK"] == (AccountId("github", "work"), "token")
    assert found["GITHUB_TOKEN"] == (AccountId("github", "home"), "token")
    assert found["GH_TOKEN"] == (AccountId("github", "work"), "token")
