"""What an ID token says of an operator, without a sidecar: names, roles, users; and what may stand in a name (H-09)."""

from __future__ import annotations

import json

import pytest

from proxy.identity.id_token import NAME, Person, Refusal, nonce_for, person_of, rule_for
from proxy.identity.jwt import keys_in
from proxy.identity.store import NAME as OWN_NAME
from proxy.operator_settings import OidcProvider
from tests.fakes.issuer import NOW, new_key, token

ISSUER = "https://id.example.test"
KEY = new_key("ES256", "one")
KEYS = keys_in(json.dumps({"keys": [KEY.as_dict(private=False)]}).encode())
RULES = [
    {"claim": "groups", "value": "admins", "role": "admin"},
    {"claim": "/realm/roles", "value": "look", "role": "viewer", "tenant": "main"},
]


def provider(**changed):
    base = {"label": "corp", "issuer": ISSUER, "client_id": "briefcase", "roles": RULES}
    return OidcProvider.model_validate_json(json.dumps({**base, **changed}))


def person(described=None, **claims):
    base = {"iss": ISSUER, "aud": "briefcase", "sub": "ann", "nonce": "n", "groups": "admins", "nbf": None}
    return person_of(token(KEY, "ES256", **{**base, **claims}), described or provider(), KEYS, nonce="n", now_s=NOW)


@pytest.mark.parametrize(
    ("claims", "role", "tenant"),
    [
        ({}, "admin", None),
        ({"groups": ["x", "admins"]}, "admin", None),
        ({"groups": None, "realm": {"roles": ["look"]}}, "viewer", "main"),
        ({"realm": {"roles": ["look"]}}, "admin", None),
    ],
    ids=str,
)
def test_the_first_rule_that_fits_counts(claims, role, tenant):
    found = person(**claims)
    assert isinstance(found, Person)
    rule = rule_for(provider(), found.proved)
    assert (rule.role, rule.tenant) == (role, tenant)
    assert rule_for(provider(roles=[{"claim": "groups", "value": "x", "role": "admin"}]), found.proved) is None


@pytest.mark.parametrize("groups", [None, [], "", "admin", "admins ", ["ADMINS"], [["admins"]], {"admins": 1}, 1, True])
def test_p5_a_value_that_is_not_exactly_the_rules_gives_nothing(groups):
    assert person(groups=groups) == Refusal("no_role", "corp/ann")


@pytest.mark.parametrize(
    ("claims", "user"),
    [({"email": "ann@corp.test"}, "ann"), ({"email": "boss@corp.test"}, "kim"), ({"email": "a@x.test"}, ""), ({}, "")],
    ids=str,
)
def test_which_user_an_operator_is(claims, user):
    rule = {"claim": "email", "map": {"boss@corp.test": "kim"}, "match": "{user}@corp.test"}
    assert person(provider(user=rule), **claims).user == user
    assert person(**claims).user is None


@pytest.mark.parametrize(
    "name",
    [
        "", " ", "ann ", " ann", "a/b", "../x", "ann\n", "ann\0", "\u0430nn", "ann\u202e", "ann\u200b", "a'b", 'a"b', "a;b",
        "a)(uid=*", "a*", "a\\b", "a<b>", "a&b", "a%2fb", "$(id)", "`id`", "{x}", "[x]", "ann,admin", "-ann", ".ann", "@ann",
        "a" * 128, "' OR 1=1--", 'User::"ann"', "\x1b[31mann", "ann#", "ann?", "ａnn",
    ],
    ids=ascii,
)  # fmt: skip
def test_h09_what_could_mean_something_elsewhere_is_no_name(name):
    """H-09: a strict grammar; and whatever stands before the slash is the configuration's."""
    assert NAME.fullmatch(name) is None
    assert person(sub=name) == Refusal("name")


@pytest.mark.parametrize(
    "name", ["ann", "00u1a2", "auth0|5f7c", "ann@corp.test", "Ann.Lee+x", "248289761001", "a" * 127]
)
def test_usual_subjects_are_names_that_no_local_operator_can_have(name):
    found = person(sub=name)
    assert found.name == f"corp/{name}"
    assert OWN_NAME.fullmatch(found.name) is None


def test_the_nonce_is_bound_to_the_secret_and_to_the_host():
    assert nonce_for("v" * 43, "Host:1") == nonce_for("v" * 43, "host:1")
    assert len({nonce_for("v" * 43, "a"), nonce_for("w" * 43, "a"), nonce_for("v" * 43, "b")}) == 3


def test_an_audience_of_ones_own_needs_azp():
    other = provider(audience="api://briefcase")
    assert person(other, aud="api://briefcase") == Refusal("audience")
    assert isinstance(person(other, aud="api://briefcase", azp="briefcase"), Person)
    assert person(other) == Refusal("token")
