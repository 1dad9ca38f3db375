"""OpenID4VP through the real sidecar: `@openid4vc/openid4vp` asks and reads the answer, `sd-jwt` verifies it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from jwcrypto.jwk import JWK

from tests.credentials.vc.certified import Certified
from tests.credentials.vc.conftest import HIDDEN, HOSTS
from tests.fakes.credential_issuer import VCT, Issuer, answer, b64, b64_decoded, key, public, signed, verified
from tests.rig import running_rig
from tests.rig.node import installed
from tests.rig.provider import Provider, echo

pytestmark = pytest.mark.asyncio(loop_scope="module")
NODE = Path(__file__).parent / "node"
CLIENT = "x509_san_dns:api.example.test"
PROFILE = """\
schema: 1
name: example
title: Example
docs: https://example.test/
checked: "2026-11-25"
hosts: [{{host: api.example.test, port: {port}}}]
secrets:
  staff: {{env: [STAFF_CREDENTIAL], stand_in: {{template: "vc-{{base62:24}}"}}}}
credentials:
  asked:
    kind: vc
    secret: staff
    types: [https://credentials.example.test/staff]
    issuers: [{{issuer: "https://issuer.example.test:{port}"}}]
    disclose: [[given_name], [roles]]
    use:
      by: openid4vp
      start: "https://api.example.test:{port}/start"
      transaction_types: [https://credentials.example.test/payment]
      verifier:
        client_id: "CLIENT"
        roots: |
ROOTS
operations:
  - {{id: read, methods: [GET], path: "/**", action: read, credentials: [asked]}}
"""
QUERY = {"credentials": [{"id": "staff", "format": "dc+sd-jwt", "meta": {"vct_values": [VCT]},
                          "claims": [{"path": ["given_name"]}]}]}  # fmt: skip

PAYMENTS = [
    b64(json.dumps({"type": "https://credentials.example.test/payment", "credential_ids": ["staff"], "n": n}).encode())
    for n in range(2)
]


class NodeVerifier:
    """The process; `ask` is one line there and back."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            ["node", "verifier.mjs"], cwd=NODE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    async def ask(self, **question: Any) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())

        return await asyncio.to_thread(work)


class Scene:
    """What happens at the verifier: its request is made anew by `ask_for`, its answers are kept in `answers`."""

    def __init__(self, rig, issuer, holder, certified, folder):
        self.rig, self.issuer, self.holder, self.certified, self.folder = rig, issuer, holder, certified, folder
        self.provider = rig.provider
        self.answers: list[dict[str, str]] = []
        self.tokens: list[str] = []
        self.base = f"https://api.example.test:{rig.provider.port}"

    def hold(self, **changed):
        text = self.issuer.sd_jwt(self.holder, HIDDEN, **changed)
        (self.folder / "next").write_text(text)
        (self.folder / "next").rename(self.folder / "staff")
        return text

    def claims(self, **changed):
        claims = {
            "client_id": CLIENT, "response_type": "vp_token", "response_mode": "direct_post", "nonce": "n-123456789",
            "response_uri": f"{self.base}/answer", "state": "s-1", "dcql_query": QUERY,
            "aud": "https://self-issued.me/v2", "iat": int(time.time()), **changed,
        }  # fmt: skip
        return {name: value for name, value in claims.items() if value is not None}

    def ask_for(self, object_: str, *, client_id: str = CLIENT, url: str | None = None, method: str | None = None):
        parameters = {"client_id": client_id, "request_uri": f"{self.base}/object"}
        parameters |= {"request_uri_method": method} if method else {}
        url = url if url is not None else "openid4vp://?" + urlencode(parameters)
        self.provider.on("/start", answer(200, {"request": url}))
        self.provider.on("/object", answer(200, object_, Content_Type="application/oauth-authz-req+jwt"))

    def object(
        self, *, by: JWK | None = None, x5c: list[str] | None = None, typ: str = "oauth-authz-req+jwt", **changed
    ):
        header = {"typ": typ, "x5c": x5c if x5c is not None else self.certified.x5c}
        return signed(by or self.certified.key, header, self.claims(**changed))

    async def get(self):
        return await self.rig.call("GET", "/things", headers={"X-Any": self.rig.stand_in()})

    def reset(self):
        self.answers.clear()
        self.provider.requests.clear()
        self.provider.on("/answer", self._answered)
        self.provider.on("/things", self._things)
        self.hold()
        self.ask_for(self.object())

    async def _answered(self, seen, reader, writer):
        self.answers.append({name: values[0] for name, values in parse_qs(seen.body.decode()).items()})
        self.tokens.append(f"token-CANARY-{len(self.tokens)}-0123456789")
        await answer(200, {"access_token": self.tokens[-1], "expires_in": 600})(seen, reader, writer)

    async def _things(self, seen, reader, writer):
        good = self.tokens and seen.one("authorization") == f"Bearer {self.tokens[-1]}"
        await (echo if good else answer(403))(seen, reader, writer)


@contextlib.asynccontextmanager
async def scene_for(client_id, certified, extra=""):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        provider = Provider(folder, HOSTS)
        await provider.start()
        holder = key()
        (folder / "staff").write_text("no-credential-yet")
        roots = certified.root.public_bytes(serialization.Encoding.PEM).decode()
        text = PROFILE.replace("CLIENT", client_id).replace(
            "ROOTS\n", "".join(f"          {x}\n" for x in roots.splitlines())
        )
        account = {"secrets": {"staff": f"file:{folder}/staff"}, "keys": {"holder": "env:HOLDER"}}
        issuer = Issuer(f"https://issuer.example.test:{provider.port}")
        provider.on("/.well-known/jwt-vc-issuer", answer(200, {"issuer": issuer.name, "jwks": issuer.jwks}))
        try:
            async with running_rig(
                folder,
                profiles={"example": text},
                settings={"providers": {"example": {"accounts": {"main": account}}}},
                environment={"HOLDER": json.dumps(holder.export(as_dict=True))},
                hosts=HOSTS,
                provider=provider,
            ) as rig:
                yield Scene(rig, issuer, holder, certified, folder)
        finally:
            await provider.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole_scene():
    async with scene_for(CLIENT, Certified()) as scene:
        yield scene


@pytest_asyncio.fixture(loop_scope="module")
async def scene(whole_scene):
    whole_scene.reset()
    return whole_scene


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node():
    if (why := await asyncio.to_thread(installed, NODE)) is not None:
        pytest.skip(why)
    verifier = NodeVerifier()
    yield verifier
    verifier.process.stdin.close()
    await asyncio.to_thread(verifier.process.wait, 10)


@pytest.mark.parametrize("mode", ["direct_post", "direct_post.jwt"])
async def test_an_independent_verifier_asks_and_reads_the_answer(scene, node, mode):
    encryption = JWK.generate(kty="EC", crv="P-256", use="enc", alg="ECDH-ES", kid="enc-1")
    metadata = {
        "jwks": {"keys": [public(encryption)]},
        "encrypted_response_enc_values_supported": ["A256GCM"],
        "vp_formats_supported": {"dc+sd-jwt": {"sd-jwt_alg_values": ["ES256"], "kb-jwt_alg_values": ["ES256"]}},
    }
    made = await node.ask(
        op="request", key=scene.certified.key.export(as_dict=True), publicKey=public(scene.certified.key),
        x5c=scene.certified.x5c, requestUri=f"{scene.base}/object", encryption=encryption.export(as_dict=True),
        encryptionPublic=public(encryption),
        payload=scene.claims(response_mode=mode, client_metadata=metadata, transaction_data=PAYMENTS, iat=None),
    )  # fmt: skip
    assert "error" not in made, made
    scene.ask_for(made["object"], url=made["url"])
    answered = await scene.get()
    assert answered.status == 200, answered.body
    assert scene.tokens[-1].encode() not in answered.body
    (form,) = scene.answers
    assert form.keys() == ({"response"} if mode == "direct_post.jwt" else {"vp_token", "state"})
    if mode == "direct_post":
        form = {**form, "vp_token": json.loads(form["vp_token"])}
    read = await node.ask(op="response", form=form)
    assert read.get("type") == "dcql", read
    ((query_id, (presentation,)),) = read["presentations"].items()
    proof = json.loads(b64_decoded(presentation.rpartition("~")[2].split(".")[1]))
    assert (await node.ask(op="response", form=form, kb=proof))["transactions"] == len(PAYMENTS)
    proof["transaction_data_hashes"].reverse()
    proof["transaction_data_hashes"].pop()
    assert "matching hash" in (await node.ask(op="response", form=form, kb=proof))["error"]
    assert query_id == "staff"
    claims = verified(presentation, scene.issuer, audience=CLIENT, nonce="n-123456789")
    assert claims["given_name"] == HIDDEN["given_name"]
    assert not {"roles", "family_name"} & claims.keys()
    assert (await scene.get()).status == 200
    assert len(scene.answers) == 1


async def test_p5_a_request_that_is_not_signed_or_names_another(scene):
    scene.ask_for("", url="openid4vp://?" + urlencode({**scene.claims(), "dcql_query": json.dumps(QUERY)}))
    assert (await scene.get()).problem == "credential_unavailable"
    scene.hold()
    scene.ask_for(scene.object(), client_id="x509_san_dns:other.example.test")
    assert (await scene.get()).problem == "credential_unavailable"
    assert scene.answers == []


async def test_a_request_that_is_fetched_by_post_answers_our_nonce(scene):
    async def handler(seen, reader, writer):
        (nonce,) = parse_qs(seen.body.decode())["wallet_nonce"]
        await answer(200, scene.object(wallet_nonce=nonce if good else "other"))(seen, reader, writer)

    scene.ask_for("", method="post")
    scene.provider.on("/object", handler)
    for good in (False, True):
        scene.hold()
        assert (await scene.get()).status == (200 if good else 502)


async def test_p5_a_request_that_must_not_be_answered_and_a_verifier_that_is_broken(scene):
    scene.ask_for(scene.object(response_uri="https://other.example.test/answer"))
    assert (await scene.get()).problem == "credential_unavailable"
    assert scene.answers == []
    scene.hold()
    scene.ask_for(scene.object())
    scene.provider.on("/answer", answer(200, b"x" * 400_000))
    assert (await scene.get()).problem == "token_endpoint_error"
    assert "/things" not in [seen.path for seen in scene.provider.requests]
