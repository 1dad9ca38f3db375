"""Discovery (RFC 8414, OpenID Connect Discovery, RFC 9728): where it asks, and what it takes for an answer."""

from __future__ import annotations

import json

import pytest

from proxy.credentials.kind import MAX_REPLY_BYTES, Call, MintFailedError, Reply
from proxy.credentials.oauth.challenges import Challenge, challenged, challenges
from proxy.credentials.oauth.metadata import (
    authorization_server,
    protected_resource,
    resource_locations,
    server_locations,
)
from proxy.credentials.oauth.resource import resource_takes

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
        assert (step.method, step.body) == ("GET", b"")
        assert step.max_reply_bytes == (128 * 1024 if step.keeps is not None else MAX_REPLY_BYTES)
        asked.append(step.url)
        page = pages.get(step.url)
        if isinstance(page, Reply):
            answer = page
            continue
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


def test_p2_a_resource_takes_only_tokens_of_a_server_that_it_names_and_bound_as_it_says():
    about = {"resource": RESOURCE, "authorization_servers": [ISSUER, "https://other.test"]}
    for more, sender in (({}, "bearer"), ({"dpop_bound_access_tokens_required": True}, "dpop")):
        found, asked = run(resource_takes(RESOURCE, ISSUER, sender), {PRM: {**about, **more}})
        assert (found, asked) == (None, [PRM + "/mcp?x=1", PRM])
    for more in (
        {"authorization_servers": []}, {"authorization_servers": [ISSUER + "/"]}, {"authorization_servers": None},
        {"dpop_bound_access_tokens_required": True}, {"bearer_methods_supported": ["query"]}, {"bearer_methods_supported": []},
    ):  # fmt: skip
        failed, asked = run(resource_takes(RESOURCE, ISSUER, "bearer"), {PRM: {**about, **more}})
        assert isinstance(failed, MintFailedError), more


@pytest.mark.parametrize(
    ("place", "document", "good"),
    [
        ("https://api.example.com/there", {"resource": RESOURCE, "authorization_servers": [ISSUER]}, True),
        ("https://api.example.com/there", {"resource": "https://api.example.com", "authorization_servers": [ISSUER]}, False),
        ("https://api.example.com/there", {"resource": RESOURCE, "authorization_servers": ["https://evil.test"]}, False),
        ("https://evil.test/there", {"resource": RESOURCE, "authorization_servers": [ISSUER]}, False),
        ("https://api.example.com:8443/there", {"resource": RESOURCE, "authorization_servers": [ISSUER]}, False),
        ("http://api.example.com/there", {"resource": RESOURCE, "authorization_servers": [ISSUER]}, False),
    ],
)  # fmt: skip
def test_p2_where_a_401_says_that_metadata_is_counts_at_the_origin_of_the_resource_alone(place, document, good):
    challenge = Reply(401, {"www-authenticate": f'Bearer resource_metadata="{place}"'}, b"")
    ended, asked = run(resource_takes(RESOURCE, ISSUER, "bearer"), {RESOURCE: challenge, place: document})
    assert (ended is None) == good
    assert asked[:3] == [PRM + "/mcp?x=1", PRM, RESOURCE]
    assert [url for url in asked if "evil" in url or ":8443" in url or url.startswith("http:")] == []


@pytest.mark.parametrize("reply", [Reply(200, {}, b"{}"), Reply(403, {"www-authenticate": "Bearer"}, b""), Reply(401, {}, b"")])  # fmt: skip
def test_p5_a_resource_without_metadata_takes_no_tokens(reply):
    failed, _ = run(resource_takes(RESOURCE, ISSUER, "bearer"), {RESOURCE: reply})
    assert isinstance(failed, MintFailedError)


def test_only_what_names_what_was_asked_about_is_worth_keeping():
    good = {"issuer": ISSUER, "token_endpoint": "https://as.example.com/t"}
    keeps = next(authorization_server(ISSUER)).keeps
    for status, document, kept in (
        (200, good, True), (404, {}, True), (410, {}, True), (500, good, False), (200, {**good, "issuer": "https://as.example.com"}, False),
        (200, {}, False), (200, {**good, "token_endpoint": "http://x.test"}, False), (503, {}, False),
    ):  # fmt: skip
        assert keeps(Reply(status, {}, json.dumps(document).encode())) == kept, (status, document)


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
