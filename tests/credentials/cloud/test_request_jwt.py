"""`request_jwt` and `snowflake` through the real sidecar, towards servers that check with other code than ours."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tests.credentials.cloud.conftest import clean, new_rsa, rig_of, told
from tests.fakes.tokens import answer
from tests.rig import running_rig
from tests.rig.provider import echo
from tests.rig.shipped import shipped_text

pytestmark = pytest.mark.asyncio(loop_scope="module")
PROFILE = """\
schema: 1
name: cdp
title: Signs each request
docs: https://example.test/
checked: "2026-11-25"
hosts: [{{host: api.example.test, port: {port}}}]
variables:
  key_name: {{pattern: "[A-Za-z0-9/-]+"}}
credentials:
  es:
    kind: request_jwt
    algorithm: ES256
    claims: {{iss: cdp, sub: "{{key_name}}", aud: [cdp_service], uris: ["{{method}} {{host}}{{path}}"]}}
    jose: {{kid: "{{key_name}}"}}
    nonce: true
  ed:
    kind: request_jwt
    algorithm: EdDSA
    claims: {{iss: cdp, sub: "{{key_name}}", aud: [cdp_service], uris: ["{{method}} {{host}}{{path}}"]}}
    jose: {{kid: "{{key_name}}"}}
    nonce: true
  other:
    kind: request_jwt
    claims: {{iss: cdp, sub: "{{key_name}}", aud: [cdp_service], uris: ["DELETE elsewhere.test/"]}}
    jose: {{kid: "{{key_name}}"}}
    nonce: true
operations:
  - {{id: read, methods: [GET], path: "/**", action: read}}
  - {{id: write, methods: [POST], path: "/**", action: write}}
"""
NAME = "organizations/1/apiKeys/2"


@dataclass
class Cdp:
    """Accepts a JWT for exactly the request that it came with, once."""

    keys: dict[str, Any] = field(default_factory=dict)
    host: str = ""
    nonces: set[str] = field(default_factory=set)
    claims: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, seen, reader, writer):
        token = (seen.one("authorization") or "").removeprefix("Bearer ")
        try:
            header = jwt.get_unverified_header(token)
            claims = jwt.decode(token, self.keys[header["alg"]], algorithms=["ES256", "EdDSA"], audience="cdp_service",
                                issuer="cdp", subject=NAME, options={"require": ["exp", "nbf", "iat", "jti"]})  # fmt: skip
        except (jwt.InvalidTokenError, KeyError):
            answer(writer, 401, {"error": "signature"})
            return
        good = claims["uris"] == [f"{seen.method} {self.host}{seen.path}"] and header["kid"] == NAME
        if not good or header["nonce"] in self.nonces or claims["exp"] > time.time() + 121:
            answer(writer, 401, {"error": "claims"})
            return
        self.nonces.add(header["nonce"])
        self.claims.append(claims)
        await echo(seen, reader, writer)


def pem(key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cdp():
    return Cdp()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory, cdp):
    folder = tmp_path_factory.mktemp("cdp")
    es, ed, stranger = (
        ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
    )  # fmt: skip
    cdp.keys = {"ES256": es.public_key(), "EdDSA": ed.public_key()}
    for name, key in {"es": es, "ed": ed, "stranger": stranger}.items():
        (folder / name).write_bytes(pem(key))
    described = {
        "es": ("es", "es"),
        "ed": ("ed", "ed"),
        "other": ("other", "es"),
        "stranger": ("es", "stranger"),
        "gone": ("es", "gone"),
    }
    accounts = {
        name: {
            "variables": {"key_name": NAME},
            "keys": {"request": f"file:{folder / key}"},
            "credentials": [credential],
        }
        for name, (credential, key) in described.items()
    }
    async with rig_of(folder, "cdp", PROFILE, accounts, ("api.example.test",)) as running:
        cdp.host = f"api.example.test:{running.provider.port}"
        for path in ("/platform/v2/accounts", "/platform/v2/%7Ba%7D"):
            running.provider.on(path, cdp)
        yield running


@pytest.mark.parametrize("agent", ["es", "ed"])
async def test_p1_every_request_has_a_jwt_of_its_own_bound_to_it(rig, cdp, agent):
    tokens = []
    for method, path in (
        ("GET", "/platform/v2/accounts?limit=2"),
        ("GET", "/platform/v2/accounts"),
        ("POST", "/platform/v2/accounts"),
    ):
        got = await rig.call(method, path, agent=agent, content=b"{}" if method == "POST" else None)
        assert got.status == 200, got.body
        tokens.append(rig.provider.last.one("authorization").removeprefix("Bearer "))
        clean(got.body, *tokens)  # the provider echoed it
    assert len(set(tokens)) == 3
    assert [claims["uris"][0].partition(" ")[0] for claims in cdp.claims[-3:]] == ["GET", "GET", "POST"]
    clean(await told(rig), *tokens)


@pytest.mark.parametrize("agent", ["other", "stranger"])
async def test_the_server_does_not_take_another_requests_jwt_or_another_key(rig, agent):
    assert (await rig.call("GET", "/platform/v2/accounts", agent=agent)).status == 401


async def test_p5_without_the_key_nothing_is_sent(rig):
    before = len(rig.provider.requests)
    assert (await rig.call("GET", "/platform/v2/accounts", agent="gone")).problem == "credential_unavailable"
    assert rig.provider.requests[before:] == []


@pytest.mark.parametrize(("slot", "algorithm"), [("request", "ES256"), ("ed25519", "EdDSA")])
async def test_the_shipped_profile_of_coinbase_makes_what_the_vendors_library_makes(tmp_path, slot, algorithm):
    """Header and claims as those of `coinbase-advanced-py` 1.8.4, `build_rest_jwt` (read, and run, 2026-11-26)."""
    key = ec.generate_private_key(ec.SECP256R1()) if slot == "request" else ed25519.Ed25519PrivateKey.generate()
    (tmp_path / "key.pem").write_bytes(pem(key))
    account = {"variables": {"key_name": NAME}, "keys": {slot: f"file:{tmp_path / 'key.pem'}"}}
    host = "api.coinbase.com"
    async with rig_of(tmp_path, "coinbase", shipped_text("coinbase"), {"main": account}, (host,)) as rig:
        agents = {"Authorization": "Bearer of-a-throwaway-key"}
        got = await rig.call("GET", "/api/v3/brokerage/accounts?limit=2", agent="main", headers=agents)
        token = rig.provider.last.one("authorization").removeprefix("Bearer ")
        clean(got.body + (await told(rig)).encode(), token)
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, key.public_key(), algorithms=[algorithm], issuer="cdp", subject=NAME)
        assert set(header) == {"alg", "typ", "kid", "nonce"}
        assert header["kid"] == NAME
        assert set(claims) == {"sub", "iss", "nbf", "exp", "uri"}
        assert claims["uri"] == f"GET {host}:{rig.provider.port}/api/v3/brokerage/accounts"
        assert claims["exp"] - claims["nbf"] == 120
        before = len(rig.provider.requests)
        moved = await rig.call("POST", "/api/v3/brokerage/portfolios/move_funds", agent="main", content=b"{}")
        assert moved.problem == "policy_denied"
        assert (await rig.call("GET", "/v2/accounts", agent="main")).problem == "operation_not_allowed"
        assert rig.provider.requests[before:] == []


@dataclass
class Snowflake:
    """Checks key-pair JWTs as the documentation says; the fingerprint is openssl's, not ours."""

    public: bytes = b""
    fingerprint: str = ""
    revoked: bool = False
    claims: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, seen, reader, writer):
        token = (seen.one("authorization") or "").removeprefix("Bearer ")
        try:
            claims = jwt.decode(
                token, self.public, algorithms=["RS256"], options={"require": ["iss", "sub", "iat", "exp"]}
            )
        except jwt.InvalidTokenError:
            claims = {}
        subject = "ACME-WIDGETS.AGENT@ACME.TEST"
        good = claims.get("sub") == subject and claims.get("iss") == f"{subject}.{self.fingerprint}"
        good = good and claims["exp"] - claims["iat"] <= 3600 and not self.revoked
        if good and seen.one("x-snowflake-authorization-token-type") == "KEYPAIR_JWT":
            self.claims.append(claims)
            await echo(seen, reader, writer)
        else:
            answer(writer, 401, {"code": "390144", "message": "JWT token is invalid."})


async def test_p1_snowflake_takes_the_key_pair_jwt_of_the_pinned_account(tmp_path):
    private, public = new_rsa()
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "DER"], input=public, capture_output=True, check=True
    ).stdout
    server = Snowflake(public, "SHA256:" + base64.b64encode(hashlib.sha256(der).digest()).decode())
    (tmp_path / "key.p8").write_bytes(private)
    (tmp_path / "ec.pem").write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))

    def account(key):
        variables = {"account": "acme-widgets", "user": "agent@acme.test"}
        return {"variables": variables, "keys": {"user": f"file:{tmp_path / key}"}}

    hosts = ("acme-widgets.snowflakecomputing.com", "evil.snowflakecomputing.com")
    accounts = {"main": account("key.p8"), "ec": account("ec.pem")}
    async with running_rig(
        tmp_path,
        profiles={"snowflake": shipped_text("snowflake")},
        settings={"providers": {"snowflake": {"accounts": accounts}}},
        agents={name: (f"snowflake/{name}",) for name in accounts},
        hosts=hosts,
    ) as rig:
        rig.provider.on("/api/v2/statements", server)
        path, body = "/api/v2/statements", b'{"statement":"select 1"}'
        for _ in range(2):
            got = await rig.call("POST", path, agent="main", content=body)
            assert got.status == 200, got.body
            token = rig.provider.last.one("authorization").removeprefix("Bearer ")
            clean(got.body, token)
        assert server.claims[0] == server.claims[1]  # kept for nearly an hour
        decision = (await rig.settled(1))[-1].decision
        assert (decision["credential_kind"], bool(decision["credential_token"])) == ("snowflake", True)
        clean(await told(rig), token)
        before = len(rig.provider.requests)
        elsewhere = await rig.call("POST", f"https://{hosts[1]}:{rig.provider.port}{path}", agent="main", content=body)
        assert elsewhere.problem is not None
        assert (await rig.call("POST", path, agent="ec", content=body)).problem == "credential_unavailable"
        assert rig.provider.requests[before:] == []
        server.revoked = True
        assert (await rig.call("POST", path, agent="main", content=body)).status == 401
        assert len(rig.provider.requests) == before + 2  # once more with a new one, then the answer is the agent's
