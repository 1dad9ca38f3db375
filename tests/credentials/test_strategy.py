"""Which of several credentials an account takes: its own order, else the profile's; what it lacks is skipped."""

from __future__ import annotations

import pytest

from proxy.catalog.binding import BoundAccount
from proxy.catalog.checks import profile_mistakes
from proxy.catalog.schema import Profile
from proxy.documents import Document
from proxy.model import AccountId
from proxy.settings import Account

PROFILE = """\
schema: 1
name: widgets
title: Widgets
docs: https://widgets.example/
checked: "2026-11-25"
hosts: [{host: api.widgets.example}]
secrets: {staff: {}, client_secret: {}, api_key: {}}
variables: {client_id: {}}
credentials:
  staff:
    kind: vc
    secret: staff
    types: [https://credentials.widgets.example/staff]
    issuers: [{issuer: https://issuer.widgets.example}]
    use: {by: header, audience: https://api.widgets.example}
  capability:
    kind: capability
    endpoint: https://api.widgets.example/capabilities
    using: {kind: oauth, grant: client_credentials, token_endpoint: https://login.widgets.example/token}
  token: {kind: oauth, grant: client_credentials, token_endpoint: https://login.widgets.example/token}
  key: {kind: header, secret: api_key}
operations:
  - {id: read, methods: [GET], path: "/**", action: read}
  - {id: signed, methods: [GET], path: "/signed/**", action: read, credentials: [staff, key]}
"""
PROFILED = Document("widgets.yaml", PROFILE).validated(Profile)
OAUTH = {"client_secret": "env:S"}


def taken(operation, *, secrets=None, variables=None, order=()):
    account = Account(secrets=secrets or {}, variables=variables or {}, credentials=order)
    bound = BoundAccount(AccountId("widgets", "main"), PROFILED, account, is_default=True)
    found = bound.credentials_for(next(o for o in PROFILED.operations if o.id == operation))
    return found[0][0] if found else None


def test_the_profile_is_one():
    assert list(profile_mistakes(PROFILED)) == []


@pytest.mark.parametrize(
    ("secrets", "variables", "order", "wanted"),
    [
        ({"staff": "env:V", **OAUTH, "api_key": "env:K"}, {"client_id": "me"}, (), "staff"),
        ({**OAUTH, "api_key": "env:K"}, {"client_id": "me"}, (), "capability"),
        ({**OAUTH, "api_key": "env:K"}, {"client_id": "me"}, ("staff", "token", "key"), "token"),
        ({**OAUTH, "api_key": "env:K"}, {}, (), "key"),
        ({"api_key": "env:K", "staff": "env:V"}, {}, ("key", "staff"), "key"),
        ({"staff": "env:V"}, {}, ("token", "key"), None),
        ({}, {}, (), None),
    ],
)
def test_the_order_of_an_account_and_what_it_lacks(secrets, variables, order, wanted):
    assert taken("read", secrets=secrets, variables=variables, order=order) == wanted


def test_an_operation_narrows_the_order():
    everything = {"staff": "env:V", **OAUTH, "api_key": "env:K"}
    assert taken("signed", secrets=everything, variables={"client_id": "me"}, order=("token", "key", "staff")) == "key"
    assert taken("signed", secrets=OAUTH, variables={"client_id": "me"}) is None
