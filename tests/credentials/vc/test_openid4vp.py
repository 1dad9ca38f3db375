"""OpenID4VP through the real sidecar: `@openid4vc/openid4vp` asks and reads the answer, `sd-jwt` verifies it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwcrypto.jwk import JWK

from tests.credentials.vc.conftest import HIDDEN, HOSTS
from tests.fakes.credential_issuer import VCT, Issuer, answer, key, public, signed, verified
from tests.rig import running_rig
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
      verifier:
        client_id: "CLIENT"
        roots: |
ROOTS
operations:
  - {{id: read, methods: [GET], path: "/**", action: read, credentials: [asked]}}
"""
QUERY = {"credentials": [{"id": "staff", "format": "dc+sd-jwt", "meta": {"vct_values": [VCT]},
                          "claims": [{"path": ["given_name"]}]}]}  # fmt: skip


def installed() -> str | None:
    """Install the verifier once per checkout; says why that failed."""
    npm = shutil.which("npm")
    if npm is None:
        return "no npm"
    done = NODE / "node_modules" / ".package-lock.json"
    with (NODE / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists() and done.stat().st_mtime >= (NODE / "package-lock.json").stat().st_mtime:
            return None
        command = f"cd {NODE} && {npm} ci --no-audit --no-fund --ignore-scripts >&2 && touch {done}"
        return None if os.system(command) == 0 else "npm cannot install the verifier"


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


class Certified:
    """A verifier's key with a certificate below a root."""

    def __init__(self, name: str = "api.example.test") -> None:
        root_key, self.root = self._certificate("Verifiers", None, None, None)
        leaf_key, self.leaf = self._certificate(name, name, root_key, self.root)
        pem = leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.key = JWK.from_pem(pem)
        self.x5c = [base64.b64encode(self.leaf.public_bytes(serialization.Encoding.DER)).decode()]

    @property
    def hash(self) -> str:
        digest = hashlib.sha256(self.leaf.public_bytes(serialization.Encoding.DER)).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    @staticmethod
    def _certificate(subject, dns, issuer_key, issuer):
        made = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer.subject if issuer else name)
            .public_key(made.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=dns is None, path_length=None), critical=True)
        )
        signer = issuer_key or made
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        if dns is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), critical=False)
        else:
            builder = builder.add_extension(
                x509.SubjectKeyIdentifier.from_public_key(made.public_key()), critical=False
            ).add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
        return made, builder.sign(signer, hashes.SHA256())


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
    if (why := await asyncio.to_thread(installed)) is not None:
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
        payload=scene.claims(response_mode=mode, client_metadata=metadata, iat=None),
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
    assert query_id == "staff"
    claims = verified(presentation, scene.issuer, audience=CLIENT, nonce="n-123456789")
    assert claims["given_name"] == HIDDEN["given_name"]
    assert not {"roles", "family_name"} & claims.keys()
    assert (await scene.get()).status == 200
    assert len(scene.answers) == 1


async def shown(scene, query):
    """The claims that the verifier gets for `query`; None where it gets nothing."""
    scene.reset()
    scene.ask_for(scene.object(dcql_query=query))
    answered = await scene.get()
    if answered.problem is not None:
        assert answered.problem == "credential_unavailable", answered.body
        assert scene.answers == []
        return None
    vp_token = json.loads(scene.answers[-1]["vp_token"])
    seen = {n: verified(p, scene.issuer, audience=CLIENT, nonce="n-123456789") for n, (p,) in vp_token.items()}
    return {n: sorted(HIDDEN.keys() & claims.keys()) for n, claims in seen.items()}


def one(**changed):
    entry = {"id": "a", "format": "dc+sd-jwt", "meta": {"vct_values": [VCT]}, **changed}
    return {"credentials": [{name: value for name, value in entry.items() if value is not None}]}


ROLE = HIDDEN["roles"][0]
DCQL = {
    "nothing": (one(), {"a": []}),
    "one claim": (one(claims=[{"path": ["given_name"]}]), {"a": ["given_name"]}),
    "an open claim": (one(claims=[{"path": ["vct"], "values": [VCT]}]), {"a": []}),
    "an element": (one(claims=[{"path": ["roles", None], "values": ["x", ROLE]}]), {"a": ["roles"]}),
    "another value": (one(claims=[{"path": ["given_name"], "values": ["Grace"]}]), None),
    "not declared": (one(claims=[{"path": ["family_name"]}]), None),
    "not there": (one(claims=[{"path": ["age"]}]), None),
    "another type": (one(meta={"vct_values": ["https://x.test"]}), None),
    "another format": (one(format="mso_mdoc"), None),
    "no type": (one(meta=None), None),
    "authorities": (one(trusted_authorities=[{"type": "aki", "values": ["x"]}]), None),
    "the first set that can be": (
        one(claims=[{"id": "f", "path": ["family_name"]}, {"id": "g", "path": ["given_name"]}, {"id": "r", "path": ["roles"]}],
            claim_sets=[["f", "g"], ["g"], ["r"]]), {"a": ["given_name"]}),
    "an unknown claim in a set": (one(claims=[{"id": "g", "path": ["given_name"]}], claim_sets=[["x"]]), None),
    "options": ({"credentials": [*one(format="mso_mdoc")["credentials"], {**one()["credentials"][0], "id": "b"}],
                 "credential_sets": [{"options": [["a"], ["b"]]}, {"required": False, "options": [["a"]]}]}, {"b": []}),
    "every one without sets": ({"credentials": [*one(format="mso_mdoc")["credentials"], {**one()["credentials"][0], "id": "b"}]}, None),
    "a bad path": (one(claims=[{"path": [True]}]), None),
    "an empty path": (one(claims=[{"path": []}]), None),
    "no query": (None, None),
    "garbage": ({"credentials": [{"id": {}}]}, None),
    "garbage in sets": ({**one(), "credential_sets": [{"options": [[{}]]}]}, None),
}  # fmt: skip


@pytest.mark.parametrize(("query", "wanted"), DCQL.values(), ids=DCQL)
async def test_the_least_that_satisfies_a_query_is_shown(scene, query, wanted):
    assert await shown(scene, query) == wanted


REFUSED = {
    "another client": lambda s: s.object(client_id="x509_san_dns:other.example.test"),
    "another answer mode": lambda s: s.object(response_mode="fragment"),
    "another answer type": lambda s: s.object(response_type="vp_token id_token"),
    "no nonce": lambda s: s.object(nonce=None),
    "for somebody else": lambda s: s.object(aud="https://other.test"),
    "expired": lambda s: s.object(exp=1),
    "an answer that goes elsewhere": lambda s: s.object(response_uri="https://other.example.test/answer"),
    "an answer in plain": lambda s: s.object(response_uri="http://api.example.test/answer"),
    "a transaction": lambda s: s.object(transaction_data=["e30"]),
    "no key to encrypt for": lambda s: s.object(response_mode="direct_post.jwt"),
    "another type of token": lambda s: s.object(typ="jwt"),
    "signed by another": lambda s: s.object(by=key()),
    "no certificate": lambda s: s.object(x5c=[]),
    "a certificate below another root": lambda s: s.object(by=(c := Certified()).key, x5c=c.x5c),
    "garbage": lambda s: "garbage",
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
async def test_p5_a_request_that_must_not_be_answered(scene, make):
    scene.ask_for(make(scene))
    answered = await scene.get()
    assert answered.problem == "credential_unavailable", answered.body
    assert scene.answers == []
    assert "/things" not in [seen.path for seen in scene.provider.requests]


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


@pytest.mark.parametrize(
    "broken", [answer(503, b"", Retry_After="3"), answer(200, b"garbage"), answer(200, {}), answer(200, b"x" * 400_000)]
)
@pytest.mark.parametrize("path", ["/start", "/object", "/answer"])
async def test_p5_a_verifier_that_is_broken(scene, path, broken):
    scene.provider.on(path, broken)
    answered = await scene.get()
    assert answered.problem in ("token_endpoint_error", "credential_unavailable")
    assert "/things" not in [seen.path for seen in scene.provider.requests]
