"""Token exchange and JWT grants at an authorization server that is not ours, for an API that verifies its tokens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket

import jwt
import pytest
import pytest_asyncio

from proxy.keys import software
from tests.credentials.oauth.conftest import HOSTS
from tests.fakes.token_server import dumps, raw
from tests.rig import running_rig
from tests.rig.exchange_server import ACCESS_TOKEN, JWT_BEARER, TOKEN_EXCHANGE, exchange_server
from tests.rig.program import assert_unseen
from tests.rig.provider import Provider

pytestmark = pytest.mark.asyncio(loop_scope="module")

AUDIENCE = "https://api.example.test/"
PROFILE = """\
schema: 1
name: {name}
title: API
docs: https://example.test/
checked: "2026-11-25"
hosts: [{{host: api.example.test, port: {port}, paths: ["/{name}"]}}]
variables:
  client_id: {{pattern: "[A-Za-z0-9_-]+"}}
secrets:
  client_secret: {{env: [CLIENT_SECRET], stand_in: {{template: "cs-{{base62:24}}"}}}}
  subject: {{env: [SUBJECT], stand_in: {{template: "su-{{base62:24}}"}}}}
credentials:
  token: {{kind: oauth, {fields}}}
operations:
  - {{id: read, methods: [GET], path: "/**", action: read}}
"""
EXCHANGE = "client: {auth: post}, grant: token_exchange, exchange: {subject_token: subject}, scope: read"
GRANT = "client: {auth: post}, grant: jwt_bearer, scope: read"
GRANTS = ("client_credentials", TOKEN_EXCHANGE)
ASSERTION = "algorithm: ES256, key_id: rig, subject: robot"


class Api:
    """A resource server: what it verified, and why it refused. What it tells back is what it was sent."""

    def __init__(self, server):
        self.server, self.seen, self.refused, self.withdrawn = server, [], [], set()

    async def __call__(self, seen, _reader, writer):
        scheme, _, token = (seen.one("authorization") or "").partition(" ")
        try:
            claims = self.server.verified(token, AUDIENCE)
            if claims["jti"] in self.withdrawn:
                raise jwt.InvalidTokenError
        except jwt.PyJWTError as error:
            self.refused.append(type(error).__name__)
            writer.write(raw(401, {"www-authenticate": 'Bearer error="invalid_token"'}, b""))
            return
        self.seen.append({"scheme": scheme, "token": token, **claims})
        writer.write(
            raw(200, {"content-type": "application/json"}, dumps({"act": claims.get("act"), "you sent": token}))
        )


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory):
    """The provider (also the home of the keys of whoever signs assertions), the server, and who is known there."""
    folder = tmp_path_factory.mktemp("exchange")
    provider = Provider(folder, ("127.0.0.1", *HOSTS))
    await provider.start()
    signer = software.generate("ES256")
    issuer = f"https://127.0.0.1:{provider.port}"
    keys = dumps({"keys": [{**signer.public.jwk, "kid": "rig", "alg": "ES256"}]})
    provider.answers("/.well-known/jwks.json", raw(200, {"content-type": "application/json"}, keys))
    (folder / "assertion.pem").write_bytes(signer.pem())
    with exchange_server(folder, trusted=[issuer], roots=[provider.root]) as server:
        yield folder, provider, issuer, server
    await provider.stop()


@contextlib.asynccontextmanager
async def exchanging(folder, world, client, cases, **environment):
    """A sidecar with one provider for each of `cases` (name to the fields of its credential)."""
    home, provider, _, server = world
    folder.mkdir(exist_ok=True)
    profiles, providers = {}, {}
    for name, fields in cases.items():
        text = PROFILE.format(name=name, port=provider.port, fields=fields)
        profiles[name] = text.replace("{", "{{").replace("}", "}}")
        keys = {"assertion": f"file:{home / 'assertion.pem'}"} if "jwt_bearer" in fields else {}
        secrets = {"client_secret": "env:CLIENT_SECRET", **({} if keys else {"subject": "env:SUBJECT"})}
        account = {"secrets": secrets, "variables": {"client_id": client.id}, "keys": keys}
        providers[name] = {"accounts": {"main": account}}
    roots = folder / "roots.pem"
    roots.write_bytes(server.root.read_bytes() + provider.root.read_bytes())
    reached = [{"host": host, "addresses": ["127.0.0.1/32"]} for host in ("127.0.0.1", *HOSTS)]
    settings = {"providers": providers, "egress": {"allow_private": reached, "ca_bundle": str(roots)}}
    given = {"CLIENT_SECRET": client.secret, **environment}
    async with running_rig(
        folder, profiles=profiles, settings=settings, environment=given, hosts=HOSTS, provider=provider
    ) as rig:
        api = Api(server)
        for name in cases:
            rig.provider.on(f"/{name}", api)
        yield rig, api


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def subject_of(server, user, first, scope="read write"):
    """A token of `user` that `first` was handed, and has exchanged for whoever comes next."""
    login = server.token(user, grant_type="client_credentials", scope=scope)["access_token"]
    handed = {"grant_type": TOKEN_EXCHANGE, "subject_token": login, "subject_token_type": ACCESS_TOKEN}
    return server.token(first, **handed, audience="https://ours.example/", scope=scope)["access_token"]


async def test_p1_an_exchanged_token_says_who_acts_for_whom(tmp_path, world, caplog):
    """RFC 8693, section 4.1: `act` nests. A signed grant (RFC 7523) beside it, at the same server."""
    _, _, issuer, server = world
    user, first = server.register("user", "client_credentials"), server.register("first", TOKEN_EXCHANGE)
    ours = server.register("ours", TOKEN_EXCHANGE, JWT_BEARER)
    subject = subject_of(server, user, first)
    at_issuer = f'issuer: "{server.issuer}"'
    assertion = f'assertion: {{{ASSERTION}, issuer: "{issuer}"}}'
    cases = {
        "acts": f'{EXCHANGE}, {at_issuer}, audience: "{AUDIENCE}"',
        "signed": f'{GRANT}, {at_issuer}, resource: ["{AUDIENCE}"], {assertion}',
    }
    async with exchanging(tmp_path, world, ours, cases, SUBJECT=subject) as (rig, api):
        answer = await rig.call("GET", "/acts")
        (seen,) = api.seen
        act = {"sub": f"client:{ours.id}", "act": {"sub": f"client:{first.id}"}}
        assert (answer.status, answer.json()["act"], seen["act"]) == (200, act, act)
        assert (seen["sub"], seen["scope"], seen["scheme"]) == (f"client:{user.id}", "read", "Bearer")
        signed = await rig.call("GET", "/signed")
        assert (api.seen[1]["sub"], api.seen[1]["chained_from"], api.seen[1]["scope"]) == ("robot", issuer, "read")
        server.revoke(first, subject)
        api.withdrawn.add(seen["jti"])  # the API takes our token no longer, and the server not the subject's
        assert (await rig.call("GET", "/acts")).status == 401
        ended = await rig.call("GET", "/acts")
        assert ended.problem == "token_endpoint_error"
        told = "".join(str(one.headers) + one.body.decode() for one in (answer, signed, ended))
        receipts = json.dumps([call.decision for call in await rig.settled(4)])
    assert_unseen(told + caplog.text + receipts, ours.secret, subject, *(one["token"] for one in api.seen))
    assert "credential_token" in receipts


@pytest.mark.slow
async def test_p1_exchanges_that_are_refused(tmp_path, world):
    """More scope than the subject has, a wrong audience, no server; and a token that is bound to the account's key."""
    server = world[3]
    user, ours = server.register("user", "client_credentials"), server.register("ours", TOKEN_EXCHANGE)
    at_issuer = f'issuer: "{server.issuer}", audience: "{AUDIENCE}"'
    cases = {
        "dpop": f"{EXCHANGE}, {at_issuer}, sender: dpop",
        "more": f"{EXCHANGE}, {at_issuer}".replace("scope: read", "scope: write"),
        "elsewhere": f'{EXCHANGE}, issuer: "{server.issuer}", audience: "https://other.example/"',
    }
    login = server.token(user, grant_type="client_credentials", scope="read")["access_token"]
    async with exchanging(tmp_path, world, ours, cases, SUBJECT=login) as (rig, api):
        assert (await rig.call("GET", "/dpop")).status == 200
        assert (api.seen[0]["scheme"], api.seen[0]["cnf"].keys()) == ("DPoP", {"jkt"})
        assert (await rig.call("GET", "/more")).problem == "token_endpoint_error"
        assert (await rig.call("GET", "/elsewhere")).status == 401
        assert set(api.refused) == {"InvalidAudienceError"}
    down = {"down": f'{EXCHANGE}, token_endpoint: "https://127.0.0.1:{closed_port()}/token"'}
    async with exchanging(tmp_path / "down", world, ours, down, SUBJECT=login) as (rig, api):
        assert (await rig.call("GET", "/down")).problem == "token_endpoint_error"
    assert api.seen == []


@pytest.mark.slow
async def test_an_expired_token_is_exchanged_anew_until_the_subject_has_expired_too(tmp_path, world):
    with exchange_server(tmp_path, ttl_s=5) as server:
        user, first, ours = (server.register(name, *GRANTS) for name in ("user", "first", "ours"))
        cases = {"acts": f'{EXCHANGE}, issuer: "{server.issuer}", audience: "{AUDIENCE}"'}
        there = (*world[:3], server)
        login = server.token(user, grant_type="client_credentials", scope="read")["access_token"]
        async with exchanging(tmp_path, there, ours, cases, SUBJECT=login) as (rig, api):
            for _ in range(2):
                assert (await rig.call("GET", "/acts")).status == 200
                await asyncio.sleep(server.ttl_s + 0.01)
        assert (len({one["jti"] for one in api.seen}), api.refused) == (2, []), "an expired token is not sent"
        subject = subject_of(server, user, first, "read")
        await asyncio.sleep(server.ttl_s + 0.01)
        async with exchanging(tmp_path / "ended", there, ours, cases, SUBJECT=subject) as (rig, api):
            assert (await rig.call("GET", "/acts")).problem == "token_endpoint_error"


@pytest.mark.slow
async def test_p1_a_signed_grant_is_judged_by_a_server_that_knows_only_the_public_key(tmp_path, world):
    """RFC 7523, section 3: issuer, audience and signature are judged by the server; nothing else is tried."""
    issuer, server = world[2], world[3]
    ours = server.register("ours", JWT_BEARER, resources=[AUDIENCE])
    at_issuer = f'issuer: "{server.issuer}", resource: ["{AUDIENCE}"]'
    said = f'{ASSERTION}, issuer: "{issuer}"'
    cases = {
        "signed": f"{GRANT}, {at_issuer}, assertion: {{{said}}}",
        "stranger": f'{GRANT}, {at_issuer}, assertion: {{{ASSERTION}, issuer: "https://stranger.example"}}',
        "audience": f'{GRANT}, {at_issuer}, assertion: {{{said}, audience: "https://other.example"}}',
        "unknown-key": f"{GRANT}, {at_issuer}, assertion: {{{said.replace('rig', 'nobody')}}}",
        "resource": f'{GRANT}, issuer: "{server.issuer}", resource: ["https://other.example/"], assertion: {{{said}}}',
    }
    async with exchanging(tmp_path, world, ours, cases) as (rig, api):
        for _ in range(2):
            assert (await rig.call("GET", "/signed")).status == 200
            api.withdrawn.add(api.seen[0]["jti"])  # the second time with a new assertion: the first one is used up
        for name in ("stranger", "audience", "unknown-key", "resource"):
            assert (await rig.call("GET", f"/{name}")).problem == "token_endpoint_error", name
    assert len({one["jti"] for one in api.seen}) == 2
    assert api.refused == ["InvalidTokenError"]
