"""The certified authorization server and the independent resource server: every way to authenticate, to bind, to ask."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from urllib.parse import parse_qs

import pytest

from tests.rig import running_rig
from tests.rig.authorization_server import SECRET, authorization_server

PROFILE = """\
schema: 1
name: {name}
title: API
docs: https://example.test/
checked: "2026-11-25"
hosts: [{{host: 127.0.0.1, port: {port}, paths: ["/{path}"]}}]
secrets:
  client_secret: {{env: [CLIENT_SECRET], stand_in: {{template: "cs-{{base62:24}}"}}}}
variables:
  client_id: {{pattern: "[a-z: -]+"}}
credentials:
  token: {{kind: oauth, issuer: "{issuer}", resource: ["{resource}"], {fields}}}
operations:
  - {{id: read, methods: [GET], path: "/**", action: read}}
  - {{id: write, methods: [POST], path: "/**", action: write}}
"""
MACHINE = "grant: client_credentials, scope: read"
MTLS = f"{MACHINE}, client: {{auth: tls}}, sender: tls"
FILES = "{type: files, actions: [read, write], locations: [here]}"
KINDS = {
    "basic": ("machine", MACHINE),
    "encoded": ("machine:needs encoding", MACHINE),
    "post": ("machine-post", f"{MACHINE}, client: {{auth: post}}"),
    "jwt": ("machine-jwt", f"{MACHINE}, client: {{auth: private_key_jwt, key_id: rig-signing}}"),
    "dpop": ("machine-dpop", f"{MACHINE}, sender: dpop"),
    "eddsa": ("machine-dpop", f"{MACHINE}, sender: dpop, dpop_algorithm: EdDSA"),
    "ed25519": ("machine-dpop", f"{MACHINE}, sender: dpop, dpop_algorithm: Ed25519"),
    "mtls": ("machine-mtls", MTLS),
    "unbound": ("machine", f"{MACHINE}, sender: tls"),
    "downgrade": ("machine", f"{MACHINE}, sender: dpop, token_types: [bearer, dpop]"),
    "target": ("machine", 'grant: client_credentials, resource: ["https://unknown.example/"]'),
    "nobody": ("nobody", MACHINE),
    "echo": ("machine", MACHINE),
    "scope": ("machine", MACHINE),
    "details": ("machine", f"{MACHINE}, authorization_details: [{FILES}]"),
    "plain": ("machine", MACHINE),
    "payment": ("machine", f"{MACHINE}, authorization_details: [{{type: payment, actions: [read]}}]"),
    "invented": ("machine", f"{MACHINE}, authorization_details: [{{type: invented}}]"),
    "expired": ("machine", MACHINE),
    "elsewhere": ("machine", f'{MACHINE}, resource: ["@api/short"]'),
    "root": ("machine", f'{MACHINE}, protected_resource: "@api"'),
    "path": ("machine", f'{MACHINE}, protected_resource: "@api/short"'),
    "hidden": ("machine", f'{MACHINE}, protected_resource: "@api/hidden"'),
    "foreign": ("machine", f'{MACHINE}, protected_resource: "@api/foreign"'),
    "bound": ("machine", f'{MACHINE}, protected_resource: "@api/bound"'),
    "none": ("machine", f'{MACHINE}, protected_resource: "@issuer/nothing"'),
    "opaque": ("machine-dpop", f'{MACHINE}, sender: dpop, introspection: opaque, resource: ["@api/opaque"]'),
    "sealed": ("machine-mtls", f'{MTLS}, introspection: opaque, resource: ["@api/opaque"]'),
}
CERTIFIED = ("mtls", "unbound", "sealed")
DPOP = {"dpop": "dpop/dpop", "eddsa": "dpop/eddsa", "ed25519": "dpop/ed25519", "opaque": "opaque/opaque"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with authorization_server(tmp_path_factory.mktemp("as")) as running:
        yield running


@contextlib.asynccontextmanager
async def certified_rig(folder, server, names=tuple(KINDS)):
    profiles, providers = {}, {}
    for name in names:
        client, fields = KINDS[name]
        resource = f'resource: ["{server.resource}"], ' if " resource:" not in fields else ""
        text = PROFILE.replace('resource: ["{resource}"], ', resource)
        path = DPOP.get(name, name)
        fields = fields.replace("@api", server.resource).replace("@issuer", server.issuer)
        profiles[name] = (
            text.format(name=name, port=server.resource_port, path=path, issuer=server.issuer, fields=fields)
            .replace("{", "{{")
            .replace("}", "}}")
        )
        own = {"jwt": ("client", server.keys.signing)}.get(name, ("tls", server.keys.certificate))
        keys = {own[0]: f"file:{own[1]}"} if name in ("jwt", *CERTIFIED) else {}
        secrets = {"client_secret": "env:CLIENT_SECRET"}
        providers[name] = {"accounts": {"main": {"secrets": secrets, "variables": {"client_id": client}, "keys": keys}}}
    settings = {"providers": providers, "egress": server.egress()}
    async with running_rig(
        folder, profiles=profiles, settings=settings, environment={"CLIENT_SECRET": SECRET}, hosts=("127.0.0.1",)
    ) as rig:
        yield rig


async def test_every_way_to_authenticate_is_taken_by_the_certified_server(tmp_path, server):
    async with certified_rig(tmp_path, server, ("basic", "encoded", "post", "jwt", "target", "nobody")) as rig:
        for name in ("basic", "encoded", "post", "jwt"):
            answer = await rig.call("GET", f"{server.resource}/{name}/x")
            assert (answer.status, answer.json()["client"], answer.json()["scope"]) == (200, KINDS[name][0], "read")
            assert answer.json()["aud"] == server.resource
        for name, slug in (("target", "token_endpoint_error"), ("nobody", "token_endpoint_error")):
            assert (await rig.call("GET", f"{server.resource}/{name}/x")).problem == slug


@pytest.mark.parametrize("name", ["dpop", "eddsa", "ed25519"])
async def test_dpop_with_both_nonces_is_taken_and_the_agent_sees_neither(tmp_path, server, name):
    async with certified_rig(tmp_path, server, (name,)) as rig:
        await server.requests()
        await server.requests(at=server.resource)
        for _ in range(2):
            answer = await rig.call("POST", f"{server.resource}/dpop/{name}/%7euser?q=1", content=b"once more")
            assert answer.status == 200, answer.body
            assert (answer.json()["scheme"], answer.json()["body"]) == ("dpop", "once more")
            assert not [header for header in answer.headers if "dpop" in header.lower()]
        asked = [r["headers"]["dpop"] for r in await server.requests("/token")]
        assert len(asked) == len(set(asked)) == 2, "one without a nonce, one with"
        sent = await server.requests(at=server.resource)
        assert len(sent) == 3, "the second call knows the nonce"
        assert len({r["headers"]["dpop"] for r in sent}) == 3
        await server.control("/rig/nonce", at=server.resource)  # the server changes its nonce: unseen as well
        assert (await rig.call("GET", f"{server.resource}/dpop/{name}/x")).status == 200
        await server.control("/rig/withdraw", at=server.resource)  # and the token: a new one in the stream
        assert (await rig.call("GET", f"{server.resource}/dpop/{name}/x")).status == 200


async def test_a_token_that_is_bound_to_a_certificate_goes_with_it_to_the_provider(tmp_path, server):
    """RFC 8705: the same certificate at the token endpoint and at the API; a token that is bound to none is refused."""
    await server.requests()
    async with certified_rig(tmp_path, server, ("mtls", "unbound")) as rig:
        answer = await rig.call("GET", f"{server.resource}/mtls/x")
        assert (answer.status, answer.json()["client"]) == (200, "machine-mtls")
        assert answer.json()["cnf"].keys() == {"x5t#S256"}
        (asked,) = await server.requests("/token")
        assert "client_id=machine-mtls" in asked["body"]
        assert "authorization" not in asked["headers"]
        assert (await rig.call("GET", f"{server.resource}/unbound/x")).problem == "credential_unavailable"


async def test_p1_m16_what_the_provider_says_about_tokens_shows_none_and_causes_none(tmp_path, server, caplog):
    await server.requests(at=server.resource)
    async with certified_rig(tmp_path, server, ("echo", "scope")) as rig:
        answer = await rig.call("GET", f"{server.resource}/echo/x")
        (sent,) = await server.requests(at=server.resource)
        assert answer.json()["authorization"] == "Bearer [echo/main:access_token]"
        assert sent["headers"]["authorization"].removeprefix("Bearer ").encode() not in answer.body
        await server.requests()
        assert (await rig.call("GET", f"{server.resource}/scope/read")).status == 200
        for _ in range(2):
            assert (await rig.call("GET", f"{server.resource}/scope/admin")).status == 403
        assert len(await server.requests("/token")) == 1, "more scope is never asked for because a provider says so"
    assert "scope/main: the provider asks for more scope" in caplog.text


async def test_a_downgrade_to_bearer_is_refused_even_where_the_type_is_allowed(tmp_path, server):
    """The server answers a DPoP request with whatever; what counts is that the token is bound to our key."""
    await server.faults(
        *[{"path": "/token", "status": 200, "times": 9, "body": json.dumps({"access_token": t, "token_type": "Bearer"})}
          for t in ("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln",)]
    )  # fmt: skip
    try:
        async with certified_rig(tmp_path, server, ("downgrade", "dpop")) as rig:
            assert (await rig.call("GET", f"{server.resource}/downgrade/x")).problem == "credential_unavailable"
            assert (await rig.call("GET", f"{server.resource}/dpop/dpop/x")).problem == "token_endpoint_error"
    finally:
        await server.faults()
    assert [r for r in await server.requests(at=server.resource) if "downgrade" in r["path"]] == []


@pytest.mark.slow
async def test_p1_a_token_that_the_api_refuses_as_expired_is_replaced_unseen_and_one_for_another_api_is_not(
    tmp_path, server
):
    form = {"grant_type": "client_credentials", "resource": f"{server.resource}/short", "scope": "read"}
    async with server.client(auth=("machine", SECRET)) as client:
        old = (await client.post("/token", data=form)).json()["access_token"]
    async with certified_rig(tmp_path, server, ("expired", "elsewhere")) as rig:
        await server.requests(at=server.resource)
        assert (await rig.call("GET", f"{server.resource}/elsewhere/x")).status == 401
        told = [r.get("refused", "") for r in await server.requests(at=server.resource)]
        assert [bool(re.search("aud", why)) for why in told] == [True, True], "one more attempt, with a new token"
        await asyncio.sleep(server.short_ttl_s)
        again = {"access_token": old, "token_type": "Bearer", "expires_in": 600}
        await server.faults({"path": "/token", "status": 200, "body": json.dumps(again)})
        answer = await rig.call("GET", f"{server.resource}/expired/x")
        refused, taken = await server.requests(at=server.resource)
        assert (answer.status, "refused" in refused, "refused" in taken) == (200, True, False)
        assert refused["headers"]["authorization"] == f"Bearer {old}"
        assert old.encode() not in answer.body


async def test_granted_authorization_details_reach_the_token_and_the_api_enforces_them(tmp_path, server):
    """RFC 9396: the server grants less than was asked for (nobody writes), and the API looks at what was granted."""
    async with certified_rig(tmp_path, server, ("details", "payment", "plain", "invented")) as rig:
        await server.requests()
        assert (await rig.call("GET", f"{server.resource}/details/files/read")).status == 200
        (asked,) = await server.requests("/token")
        assert json.loads(parse_qs(asked["body"])["authorization_details"][0])[0]["actions"] == ["read", "write"]
        refused = await rig.call("GET", f"{server.resource}/details/files/write")
        assert (refused.status, refused.json()["error"]) == (403, "insufficient_authorization_details")
        assert (await rig.call("GET", f"{server.resource}/details/payment/read")).status == 403
        (shown,) = (await rig.call("GET", f"{server.resource}/payment/x")).json()["details"]
        assert shown == {"type": "payment", "actions": ["read"]}
        assert "details" not in (await rig.call("GET", f"{server.resource}/plain/x")).json()
        assert (await rig.call("GET", f"{server.resource}/invented/x")).problem == "token_endpoint_error"


async def test_p2_a_token_is_obtained_only_from_a_server_that_the_api_itself_names(tmp_path, server):
    """RFC 9728: with a path, at the root, or where the API's 401 says; otherwise nothing is asked of the issuer."""
    names = ("root", "path", "hidden", "foreign", "bound", "none")
    async with certified_rig(tmp_path, server, names) as rig:
        await server.requests()
        for name in ("foreign", "bound", "none"):
            assert (await rig.call("GET", f"{server.resource}/{name}/x")).problem == "token_endpoint_error", name
        assert await server.requests("/token") == []
        for name in ("root", "path", "hidden"):
            assert (await rig.call("GET", f"{server.resource}/{name}/x")).status == 200, name
        await server.control("/rig/issuers", ["https://new.example"], at=server.resource)
        try:  # the API has moved to another server: what is kept is not asked for, until a token is refused
            assert (await rig.call("GET", f"{server.resource}/root/x")).status == 200
            await server.control("/rig/withdraw", at=server.resource)
            await server.requests()
            assert (await rig.call("GET", f"{server.resource}/root/x")).status == 401
            assert (await rig.call("GET", f"{server.resource}/root/x")).problem == "token_endpoint_error"
            assert await server.requests("/token") == []
        finally:
            await server.control("/rig/issuers", [server.issuer], at=server.resource)


async def test_discovery_is_asked_once_and_again_after_something_failed(tmp_path, server):
    async def asked():
        return sum(r["path"].startswith("/.well-known/") for r in await server.requests())

    async with certified_rig(tmp_path, server, ("plain",)) as rig:
        await server.requests()
        broker = rig.sidecar.pipeline._broker
        assert (await rig.call("GET", f"{server.resource}/plain/x")).status == 200
        assert (first := await asked()) > 0
        for _ in range(2):
            ((key, entry),) = broker._entries.items()
            broker._rejected[key] = entry.version  # as after a refusal long ago
            broker._entries.clear()
            assert (await rig.call("GET", f"{server.resource}/plain/x")).status == 200
        assert await asked() == 0
        await server.control("/rig/withdraw", at=server.resource)
        assert (await rig.call("GET", f"{server.resource}/plain/x")).status == 200
        assert await asked() == first


@pytest.mark.parametrize("name", ["opaque", "sealed"])
async def test_a_token_that_cannot_be_read_is_used_once_the_server_says_that_it_is_bound_to_our_key(
    tmp_path, server, name
):
    """RFC 7662; RFC 9449, section 6.2; RFC 8705, section 3.2."""
    async with certified_rig(tmp_path, server, (name,)) as rig:
        await server.requests()
        await server.requests(at=server.resource)
        answer = await rig.call("GET", f"{server.resource}/{DPOP.get(name, name)}/x")
        asked, *_ = await server.requests("/token/introspection")  # others come from the API
        assert parse_qs(asked["body"])["token_type_hint"] == ["access_token"]
        assert answer.status == 200, answer.body
        sent = (await server.requests(at=server.resource))[0]["headers"]["authorization"]
        assert parse_qs(asked["body"])["token"] == [sent.partition(" ")[2]]


async def test_p5_a_token_of_which_the_server_does_not_say_that_is_not_used(tmp_path, server):
    other = {"active": True, "cnf": {"jkt": "of-another-key"}}
    said = [
        *((200, one, "credential_unavailable") for one in (other, {"active": True}, {"active": True, "cnf": "x"})),
        *((200, one, "token_endpoint_error") for one in ({"active": False, "cnf": {}}, {"active": "true"}, [])),
        (503, {"active": True}, "token_endpoint_error"),
    ]
    async with certified_rig(tmp_path, server, ("opaque",)) as rig:
        await server.requests(at=server.resource)
        try:
            for status, document, slug in said:
                await server.faults({"path": "/token/introspection", "status": status, "body": json.dumps(document)})
                assert (await rig.call("GET", f"{server.resource}/opaque/opaque/x")).problem == slug, document
                rig.sidecar.pipeline._broker._failures.clear()
        finally:
            await server.faults()
        assert await server.requests(at=server.resource) == []
