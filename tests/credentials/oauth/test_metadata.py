"""Discovery (RFC 8414, OpenID Connect Discovery, RFC 9728): where it asks, and what it takes for an answer."""

from __future__ import annotations

import json

import pytest

from proxy.credentials.kind import Call, MintFailedError, Reply
from proxy.credentials.oauth.challenges import Challenge, challenged, challenges
from proxy.credentials.oauth.metadata import (
    authorization_server,
    authorization_server_for,
    protected_resource,
    resource_locations,
    server_locations,
)

ISSUER, RESOURCE = "https://as.example.com/tenant", "https://api.example.com/mcp?x=1"
KNOWN = "https://as.example.com/.well-known/"
PRM = "https://api.example.com/.well-known/oauth-protected-resource"


def run(generator, pages):
    """What `generator` returns where `pages` answer its calls; and the URLs that it asked for."""
    asked, answer = [], None
    while True:
        try:
            step = generator.send(answer)
        except StopIteration as ended:
            return ended.value, asked
        except MintFailedError as failed:
            return failed, asked
        assert isinstance(step, Call)
        assert (step.method, step.body, step.max_reply_bytes) == ("GET", b"", 128 * 1024)
        asked.append(step.url)
        page = pages.get(step.url)
        answer = (
            Reply(404, {}, b"")
            if page is None
            else Reply(200, {}, page if isinstance(page, bytes) else json.dumps(page).encode())
        )


def test_a_path_goes_behind_the_well_known_part_then_before_it():
    assert server_locations(ISSUER) == (
        KNOWN + "oauth-authorization-server/tenant",
        KNOWN + "openid-configuration/tenant",
        "https://as.example.com/tenant/.well-known/openid-configuration",
    )
    for root in ("https://as.example.com", "https://as.example.com/"):
        assert server_locations(root) == (KNOWN + "oauth-authorization-server", KNOWN + "openid-configuration")


@pytest.mark.parametrize("place", server_locations(ISSUER))
def test_the_first_document_that_names_the_issuer_counts(place):
    found, asked = run(
        authorization_server(ISSUER), {place: {"issuer": ISSUER, "token_endpoint": "https://x.test/t", "unknown": {}}}
    )
    assert (found.issuer, found.token_endpoint) == (ISSUER, "https://x.test/t")
    assert asked[-1] == place


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": ISSUER + "/"}, {"issuer": ISSUER.upper()}, {"issuer": "https://as.example.com:443/tenant"},
        {"issuer": "https://as.example.com/%74enant"}, {"issuer": None}, {"issuer": [ISSUER]}, {}, [], 7, b"", b"<html>", b"\xff\xfe",
        b'{"issuer": "https://as.example.com/tenant"', {"issuer": ISSUER, "token_endpoint": "http://as.example.com/t"},
        {"issuer": ISSUER, "token_endpoint": "https://user@as.example.com/t"}, {"issuer": ISSUER, "token_endpoint": 7},
        {"issuer": ISSUER, "token_endpoint": "https://"}, {"issuer": ISSUER, "token_endpoint": "https://a b/"},
        {"issuer": ISSUER, "token_endpoint": "https://a.test/" + "a" * 3000}, {"issuer": ISSUER, "token_endpoint": "https://[x/t"},
        {"issuer": ISSUER, "token_endpoint": "https://a.test:99999/"}, {"issuer": ISSUER, "jwks_uri": "https://[::1]]/"},
        {"issuer": ISSUER, "require_pushed_authorization_requests": "false"},
        {"issuer": ISSUER, "code_challenge_methods_supported": "S256"}, {"issuer": ISSUER, "scopes_supported": ["a"] * 1000},
        b'{"issuer": ' + b"[" * 100_000,
    ],
)  # fmt: skip
def test_p5_anything_else_is_no_document(document):
    failed, asked = run(authorization_server(ISSUER), dict.fromkeys(server_locations(ISSUER), document))
    assert isinstance(failed, MintFailedError)
    assert asked == list(server_locations(ISSUER))


@pytest.mark.parametrize(
    "issuer",
    [
        "http://as.example.com",
        "https://as.example.com?x",
        "https://as.example.com#x",
        "https://u:p@as.example.com",
        "https://",
        "",
    ],
)
def test_p2_nothing_is_asked_of_an_issuer_that_is_not_an_https_url(issuer):
    failed, asked = run(authorization_server(issuer), {})
    assert isinstance(failed, MintFailedError)
    assert asked == []


def test_a_resource_is_found_with_its_path_then_at_the_root():
    assert [place for place, _ in resource_locations(RESOURCE)] == [PRM + "/mcp?x=1", PRM]
    assert [place for place, _ in resource_locations("https://api.example.com/")] == [PRM]
    for pages in (
        {PRM + "/mcp?x=1": {"resource": RESOURCE}},
        {PRM: {"resource": "https://api.example.com"}},
        {PRM: {"resource": RESOURCE}},
    ):
        found, _ = run(protected_resource(RESOURCE), pages)
        assert found.resource in (RESOURCE, "https://api.example.com")


def test_a_challenge_names_the_only_place_that_is_asked():
    challenge = 'Bearer realm="x", error="invalid_token", resource_metadata="https://other.test/meta"'
    found, asked = run(protected_resource(RESOURCE, challenge), {"https://other.test/meta": {"resource": RESOURCE}})
    assert (found.resource, asked) == (RESOURCE, ["https://other.test/meta"])
    failed, asked = run(protected_resource(RESOURCE, challenge), {PRM: {"resource": RESOURCE}})
    assert isinstance(failed, MintFailedError)
    assert asked == ["https://other.test/meta"]


@pytest.mark.parametrize(
    "resource",
    [
        "https://api.example.com",
        "https://api.example.com/mcp",
        "https://api.example.com/mcp?x=1/",
        "https://evil.test/mcp?x=1",
    ],
)
def test_p2_metadata_of_another_resource_does_not_count(resource):
    challenge = 'Bearer resource_metadata="https://other.test/meta"'
    failed, _ = run(protected_resource(RESOURCE, challenge), {"https://other.test/meta": {"resource": resource}})
    assert isinstance(failed, MintFailedError)
    failed, asked = run(protected_resource(RESOURCE, 'Bearer resource_metadata="http://other.test/meta"'), {})
    assert (isinstance(failed, MintFailedError), asked) == (True, [])


def test_p2_a_token_comes_only_from_a_server_that_the_resource_names():
    server = {server_locations(ISSUER)[0]: {"issuer": ISSUER}}
    about = {PRM: {"resource": RESOURCE, "authorization_servers": [ISSUER]}}
    for issuer in (ISSUER, None):
        (resource, found), _ = run(authorization_server_for(RESOURCE, issuer), {**server, **about})
        assert (resource.resource, found.issuer) == (RESOURCE, ISSUER)
    for named in ([], [ISSUER + "/"], ["https://other.test"]):
        about = {PRM: {"resource": RESOURCE, "authorization_servers": named}}
        failed, asked = run(authorization_server_for(RESOURCE, ISSUER), {**server, **about})
        assert isinstance(failed, MintFailedError)
        assert asked[-1] == PRM
    two = {PRM: {"resource": RESOURCE, "authorization_servers": [ISSUER, "https://other.test"]}}
    failed, _ = run(authorization_server_for(RESOURCE, None), {**server, **two})
    assert isinstance(failed, MintFailedError)


def test_challenges_are_told_apart():
    # The example of RFC 9110, section 11.6.1.
    assert challenges('Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""') == (
        Challenge("basic", {"realm": "simple"}),
        Challenge("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}),
    )
    assert challenges("Negotiate abc==, DPoP algs=ES256 , error = use_dpop_nonce,,Bearer") == (
        Challenge("negotiate"), Challenge("dpop", {"algs": "ES256", "error": "use_dpop_nonce"}), Challenge("bearer"),
    )  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        ",",
        '"',
        "=",
        "Bearer error=",
        'Bearer error="x',
        "Bearer error=a b",
        'Bearer x="a"b, error="y"',
        "Bearer " + "a" * 9000 + ', error="y"',
    ],
)
def test_what_is_not_a_challenge_says_nothing(value):
    assert challenged(value, "error") is None
    assert challenged('DPoP error="a", error="b", Bearer error="c"', "error") == "a"
    assert challenged('DPoP error="a", Bearer error="c"', "error", "bearer") == "c"
