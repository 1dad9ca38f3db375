"""What a person's consent has to be worth: how they log in, which server the API takes, what the token is bound to."""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest

from proxy.credentials.kind import Credential, Ingredients
from proxy.credentials.oauth.authorize import redeem, start
from proxy.credentials.oauth.device import Device, poll, start_device
from proxy.credentials.oauth.login import Login
from proxy.credentials.oauth.places import places
from proxy.keys.public import PublicKey, base64url
from proxy.model import AccountId
from proxy.secret import Secret
from tests.credentials.oauth.test_connecting import AT, GIVEN, ISSUER, STARTED, detail, kind, run


@pytest.mark.parametrize(
    ("login", "asked"),
    [
        (Login(), {}), (Login("urn:strong urn:other"), {"acr_values": ["urn:strong urn:other"]}),
        (Login(max_age_s=0), {"max_age": ["0"]}), (Login("x", 5), {"acr_values": ["x"], "max_age": ["5"]}),
    ],
)  # fmt: skip
def test_a_stronger_or_newer_login_is_asked_for_as_rfc_9470_says(login, asked):
    asking = kind(connect={"parameters": {"acr_values": "weak"}} if login.acr_values else {})
    started, _ = run(start(asking, GIVEN, AT, "http://127.0.0.1:9/callback", login))
    query = parse_qs(urlsplit(started.url).query)
    assert {name: query[name] for name in ("acr_values", "max_age") if name in query} == asked
    _, (call,) = run(start_device(kind(grant="device_code"), GIVEN, AT, login), (400, {}))
    form = parse_qs(call.body.decode())
    assert {name: form[name] for name in ("acr_values", "max_age") if name in form} == asked


def test_p2_where_the_api_names_another_server_nobody_is_sent_to_this_one():
    about = {"resource": "https://api.test", "authorization_servers": [ISSUER + "/"]}
    failed, calls = run(places(kind(protected_resource="https://api.test"), GIVEN), (200, about))
    assert "does not take tokens" in detail(failed)
    assert [call.url for call in calls] == ["https://api.test/.well-known/oauth-protected-resource"]


def test_p2_secrets_may_go_to_the_introspection_endpoint_and_no_secret_to_the_api_s_metadata():
    asking = kind(
        protected_resource="https://api.test", sender="dpop", introspection="opaque", client={"auth": "post"},
        introspection_endpoint="https://as2.test/i",
    )  # fmt: skip
    assert asking.endpoints({}) == (ISSUER, "https://as2.test/i")


@pytest.mark.parametrize("by_device", [False, True])
def test_p5_what_a_person_s_consent_gave_is_asked_about_as_well(by_device):
    der = b"a certificate"
    bound = {"active": True, "cnf": {"x5t#S256": base64url(hashlib.sha256(der).digest())}}
    given = Ingredients(
        AccountId("acme", "main"), {"client_secret": Secret("client_secret", "s")}, {"client_id": "app"},
        keys={"tls": PublicKey("ES256", {}, (der,))}, now_s=1000,
    )  # fmt: skip
    asking = kind(sender="tls", client={"auth": "post"}, introspection="opaque", introspection_endpoint=f"{ISSUER}/i")
    token = {"access_token": "cannot-be-read", "token_type": "Bearer", "refresh_token": "rt-number-1"}
    for said, good in ((bound, True), ({"active": True}, False), ({"active": False}, False), ({}, False)):
        asked = (
            poll(asking, given, AT, Device("dc", "uc", AT.token, None, 60, 5))
            if by_device
            else redeem(asking, given, STARTED, "c")
        )
        ended, (_, about) = run(asked, (200, token), (200, said))
        assert isinstance(ended, Credential) == good, said
        assert parse_qs(about.body.decode()) == {
            "token": ["cannot-be-read"], "token_type_hint": ["access_token"], "client_id": ["app"], "client_secret": ["s"],
        }  # fmt: skip
