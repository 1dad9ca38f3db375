"""The certified authorization server and the independent resource server: every way to authenticate, DPoP, RAR, 8707."""

from __future__ import annotations

import contextlib
import json

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
KINDS = {
    "basic": ("machine", MACHINE),
    "encoded": ("machine:needs encoding", MACHINE),
    "post": ("machine-post", f"{MACHINE}, client: {{auth: post}}"),
    "jwt": ("machine-jwt", f"{MACHINE}, client: {{auth: private_key_jwt, key_id: rig-signing}}"),
    "dpop": ("machine-dpop", f"{MACHINE}, sender: dpop"),
    "eddsa": ("machine-dpop", f"{MACHINE}, sender: dpop, dpop_algorithm: EdDSA"),
    "ed25519": ("machine-dpop", f"{MACHINE}, sender: dpop, dpop_algorithm: Ed25519"),
    "mtls": ("machine-mtls", f"{MACHINE}, client: {{auth: tls}}, sender: tls"),
    "unbound": ("machine", f"{MACHINE}, sender: tls"),
    "downgrade": ("machine", f"{MACHINE}, sender: dpop, token_types: [bearer, dpop]"),
    "target": ("machine", 'grant: client_credentials, resource: ["https://unknown.example/"]'),
    "nobody": ("nobody", MACHINE),
    "echo": ("machine", MACHINE),
    "scope": ("machine", MACHINE),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with authorization_server(tmp_path_factory.mktemp("as")) as running:
        yield running


@contextlib.asynccontextmanager
async def certified_rig(folder, server, names=tuple(KINDS)):
    profiles, providers = {}, {}
    for name in names:
        client, fields = KINDS[name]
        resource = f'resource: ["{server.resource}"], ' if "resource:" not in fields else ""
        text = PROFILE.replace('resource: ["{resource}"], ', resource)
        path = f"dpop/{name}" if name in ("dpop", "eddsa", "ed25519") else name
        profiles[name] = (
            text.format(name=name, port=server.resource_port, path=path, issuer=server.issuer, fields=fields)
            .replace("{", "{{")
            .replace("}", "}}")
        )
        own = {"jwt": ("client", server.keys.signing)}.get(name, ("tls", server.keys.certificate))
        keys = {own[0]: f"file:{own[1]}"} if name in ("jwt", "mtls", "unbound") else {}
        secrets = {"client_secret": "env:CLIENT_SECRET"}
        providers[name] = {"accounts": {"main": {"secrets": secrets, "variables": {"client_id": client}, "keys": keys}}}
    settings = {"providers": providers, "egress": server.egress()}
    async with running_rig(
        folder, profiles=profiles, settings=settings, environment={"CLIENT_SECRET": SECRET}, hosts=("127.0.0.1",)
    ) as rig:
        yield rig


async def test_every_way_to_authenticate_is_taken_by_the_certified_server(tmp_path, server):
    async with certified_rig(tmp_path, server) as rig:
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
