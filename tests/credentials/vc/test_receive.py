"""`briefcased credentials receive` as a process: from a certified issuer into an account that a sidecar then uses."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, quote, urlencode

import pytest
import pytest_asyncio
import yaml
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS
from sd_jwt.verifier import SDJWTVerifier

from proxy.credentials.kind import MintFailedError
from proxy.credentials.vc.offer import read_offer
from proxy.credentials.vc.receiving import Deferred, Received, asked_again, opened_session, requested
from tests.credentials.vc.driving import driven, given, reply, spec
from tests.fakes.credential_issuer import Issuer, key
from tests.rig import running_rig
from tests.rig.authorization_server import authorization_server
from tests.rig.program import assert_unseen, clean_environment, ended, started
from tests.rig.provider import Provider

pytestmark = pytest.mark.asyncio(loop_scope="module")
ROOT = Path(__file__).parents[3]
HOST = "api.example.test"
PROFILE = """\
schema: 1
name: example
title: Example
docs: https://example.test/
checked: "2026-11-25"
hosts: [{{host: api.example.test, port: {port}}}]
credentials:
  identity:
    kind: vc
    types: ["ISSUER/vct/identity"]
    issuers: [{{issuer: "ISSUER"}}]
    disclose: [[given_name], [age_over_18]]
    use: {{by: header, template: "VP {{presentation}}", audience: "https://api.example.test", nonce: random}}
operations:
  - {{id: read, methods: [GET], path: "/**", action: read}}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with authorization_server(tmp_path_factory.mktemp("issuer")) as running:
        yield running


class Bench:
    """A sidecar, the command line with the same state, and the provider."""

    def __init__(self, rig, folder, config):
        self.rig, self.folder, self.config = rig, folder, config

    async def run(self, *arguments):
        command = (sys.executable, "-m", "proxy", *arguments, "--config", str(self.config))
        env = {**clean_environment(self.folder), "BRIEFCASED_HOME": str(self.rig.home), "PYTHONPATH": str(ROOT)}
        return await ended(await started(*command, env=env, cwd=self.folder))

    async def receive(self, offer, *arguments, stdin=""):
        command = (sys.executable, "-m", "proxy", "credentials", "receive", offer, "--account", "example/main",
                   "--config", str(self.config), "--client-id", "wallet", *arguments)  # fmt: skip
        env = {**clean_environment(self.folder), "BRIEFCASED_HOME": str(self.rig.home), "PYTHONPATH": str(ROOT)}
        process = await started(*command, env=env, cwd=self.folder, stdin=stdin.encode())
        return await ended(process, stdin=stdin.encode())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    provider = Provider(folder, (HOST,))
    await provider.start()
    text = PROFILE.replace("ISSUER", server.issuer)
    bundle = folder / "roots.pem"
    bundle.write_bytes(server.root.read_bytes() + provider.root.read_bytes())
    settings = {
        "providers": {"example": {"accounts": {"main": {}}}},
        "egress": {
            "allow_private": [{"host": host, "addresses": ["127.0.0.1/32"]} for host in (HOST, "127.0.0.1")],
            "ca_bundle": str(bundle),
        },
    }
    (folder / "profiles").mkdir()
    (folder / "profiles" / "example.yaml").write_text(text.format(port=provider.port))
    config = folder / "briefcased.yaml"
    listeners = {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0"}
    config.write_text(
        yaml.safe_dump({"version": 1, "listeners": listeners, "profiles": [str(folder / "profiles")], **settings})
    )
    try:
        async with running_rig(
            folder, profiles={"example": text}, settings=settings, hosts=(HOST,), provider=provider
        ) as rig:
            yield Bench(rig, folder, config)
    finally:
        await provider.stop()


async def test_a_credential_is_received_and_used(bench, server):
    assert (await bench.rig.call("GET", "/things")).problem == "not_connected"
    offer = await server.control("/rig/offer", {"client_id": "wallet", "tx_code": "493536"})
    link = "openid-credential-offer://?credential_offer=" + quote(json.dumps(offer))
    done = await bench.receive(link, stdin="493536\n")
    assert (done.code, done.out) == (
        0,
        f"received {server.issuer}/vct/identity by {server.issuer} for example/main\n",
    ), done
    seen = await server.requests()
    nonce = (await _json(server, "/.well-known/openid-credential-issuer"))["nonce_endpoint"].removeprefix(server.issuer)
    assert [r["path"] for r in seen if r["path"] in (nonce, "/credential")] == [nonce, "/credential"]
    proof = json.loads(next(r for r in seen if r["path"] == "/credential")["body"])["proofs"]["jwt"]
    assert len(proof) == 1
    await _until_connected(bench)
    sent = bench.rig.provider.last.one("authorization").removeprefix("VP ")
    keys = (await _json(server, "/.well-known/jwt-vc-issuer"))["jwks"]["keys"]
    nonce = _claims(sent.rpartition("~")[2])["nonce"]
    verifier = SDJWTVerifier(sent, lambda _i, _h: JWK(**keys[0]), "https://api.example.test", nonce)
    shown = verifier.get_verified_payload()
    assert (shown["given_name"], shown["age_over_18"]) == ("Alice", True)
    assert "email" not in shown
    database = b"".join(path.read_bytes() for path in bench.rig.home.glob("briefcased.db*"))
    assert_unseen(database.decode("latin-1"), sent.split("~")[0], sent.split("~")[1])


async def _until_connected(bench):
    end = time.monotonic() + 10
    while (answered := await bench.rig.call("GET", "/things")).status != 200:
        assert answered.problem == "not_connected", answered.body
        assert time.monotonic() < end
    assert b"email" not in answered.body


async def _json(server, path):
    async with server.client() as client:
        return (await client.get(path)).json()


def _claims(token):
    import base64

    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


@pytest.mark.slow
async def test_p5_an_offer_that_cannot_be_taken(bench, server):
    for offer in ("nonsense", "{}", '{"credential_issuer": "https://other.test"}'):
        done = await bench.receive(offer)
        assert done.code == 1
        assert "offer" in done.err
    offer = await server.control("/rig/offer", {"client_id": "wallet", "tx_code": "493536"})
    assert (await bench.receive(json.dumps(offer), stdin="000000\n")).code == 1
    await server.faults({"path": "/credential", "status": 400, "body": '{"error": "CANARY"}'})
    offer = await server.control("/rig/offer", {"client_id": "wallet"})
    done = await bench.receive("-", stdin=json.dumps(offer) + "\n")
    assert done.code == 1
    assert "CANARY" not in done.err + done.out


@pytest.mark.slow
async def test_what_was_received_is_listed_and_can_be_forgotten(bench, server):
    await bench.run("credentials", "forget", "example/main")
    assert "not_connected" in (await bench.run("accounts")).out
    offer = await server.control("/rig/offer", {"client_id": "wallet"})
    assert (await bench.receive(json.dumps(offer))).code == 0
    listed = (await bench.run("accounts")).out
    assert "connected" in listed
    assert "not_connected" not in listed
    assert (await bench.run("credentials", "forget", "example/main")).out == "forgotten: identity of example/main\n"
    assert (await bench.run("credentials", "forget", "example/main")).code == 1


# -- the flow without a network: an issuer that defers, notifies, and answers nonsense ---------------------------------

BASE = "https://issuer.example.test"


class Wallet:
    """An issuer at `BASE` as a table of answers; `calls` is what was asked of it."""

    def __init__(self, **metadata):
        self.issuer, self.holder, self.calls = Issuer(BASE), key(), []
        self.kind = spec(kind="vc", types=["https://credentials.example.test/staff"], issuers=[{"issuer": BASE}],
                         use={"by": "header", "audience": "a"})  # fmt: skip
        self.offer = {"credential_issuer": BASE, "credential_configuration_ids": ["other", "staff"],
                      "grants": {"urn:ietf:params:oauth:grant-type:pre-authorized_code": {"pre-authorized_code": "code-1"}}}  # fmt: skip
        staff = {"format": "dc+sd-jwt", "vct": "https://credentials.example.test/staff"}
        self.metadata = {
            "credential_issuer": BASE, "credential_endpoint": f"{BASE}/credential", "nonce_endpoint": f"{BASE}/nonce",
            "deferred_credential_endpoint": f"{BASE}/deferred", "notification_endpoint": f"{BASE}/notification",
            "credential_configurations_supported": {"other": {"format": "mso_mdoc"}, "staff": staff}, **metadata,
        }  # fmt: skip
        self.good = self.issuer.sd_jwt(self.holder, {"given_name": "Ada"})
        server = {"issuer": BASE, "token_endpoint": f"{BASE}/token"}
        self.web = {
            f"{BASE}/.well-known/openid-credential-issuer": reply(200, self.metadata),
            f"{BASE}/.well-known/oauth-authorization-server": reply(200, server),
            f"{BASE}/.well-known/openid-configuration": reply(404),
            f"{BASE}/.well-known/jwt-vc-issuer": reply(200, {"issuer": BASE, "jwks": self.issuer.jwks}),
            f"{BASE}/token": reply(200, {"access_token": "access-1", "token_type": "Bearer"}),
            f"{BASE}/nonce": reply(200, {"c_nonce": "nonce-1"}),
            f"{BASE}/credential": reply(200, {"credentials": [{"credential": self.good}], "notification_id": "n-1"}),
            f"{BASE}/notification": reply(204),
        }

    def run(self, generator):
        return driven(generator, self.web, self.holder, self.calls)

    def given(self):
        return given(holder=self.holder, now_s=int(time.time()))

    def begin(self, text=None):
        offer = self.run(read_offer(text or json.dumps(self.offer)))
        return self.run(opened_session(self.kind, offer, self.given(), client_id=None, tx_code=None))

    def receive(self):
        return self.run(requested(self.kind, self.begin(), self.given()))

    def asked(self, path):
        return [call for call in self.calls if call.url == f"{BASE}{path}"]


async def test_the_whole_flow_and_its_proof():
    wallet = Wallet()
    received = wallet.receive()
    assert (received.text, received.issuer) == (wallet.good, BASE)
    form = parse_qs(wallet.asked("/token")[0].body.decode())
    assert form == {
        "grant_type": ["urn:ietf:params:oauth:grant-type:pre-authorized_code"],
        "pre-authorized_code": ["code-1"],
    }
    (asked,) = wallet.asked("/credential")
    body = json.loads(asked.body)
    assert asked.headers["authorization"] == "Bearer access-1"
    assert body["credential_configuration_id"] == "staff"
    (proof,) = body["proofs"]["jwt"]
    token = JWS()
    token.deserialize(proof, wallet.holder)
    header = json.loads(token.objects["protected"])
    assert (header["typ"], "kid" in header, "d" in header["jwk"]) == ("openid4vci-proof+jwt", False, False)
    claims = json.loads(token.payload)
    assert (claims["aud"], claims["nonce"], "iss" in claims) == (BASE, "nonce-1", False)
    assert json.loads(wallet.asked("/notification")[0].body) == {
        "notification_id": "n-1",
        "event": "credential_accepted",
    }


async def test_a_credential_that_is_not_ready_is_asked_for_again():
    wallet = Wallet()
    wallet.web[f"{BASE}/credential"] = reply(202, {"transaction_id": "t-1", "interval": 7})
    deferred = wallet.receive()
    assert isinstance(deferred, Deferred)
    assert deferred.interval_s == 7
    for pending in (reply(202, {"transaction_id": "t-2", "interval": 9}), reply(400, {"error": "issuance_pending"})):
        wallet.web[f"{BASE}/deferred"] = pending
        again = wallet.run(asked_again(wallet.kind, deferred, wallet.given()))
        assert isinstance(again, Deferred)
    assert json.loads(wallet.asked("/deferred")[0].body) == {"transaction_id": "t-1"}
    wallet.web[f"{BASE}/deferred"] = reply(200, {"credentials": [{"credential": wallet.good}]})
    assert isinstance(wallet.run(asked_again(wallet.kind, deferred, wallet.given())), Received)
    wallet.web[f"{BASE}/deferred"] = reply(400, {"error": "invalid_transaction_id"})
    with pytest.raises(MintFailedError):
        wallet.run(asked_again(wallet.kind, deferred, wallet.given()))


async def test_an_offer_may_stand_elsewhere_and_a_token_may_name_the_credential():
    wallet = Wallet()
    wallet.web[f"{BASE}/offer"] = reply(200, wallet.offer)
    details = [
        {"type": "openid_credential", "credential_configuration_id": "staff", "credential_identifiers": ["staff-7"]}
    ]
    token = {"access_token": "access-1", "token_type": "Bearer", "authorization_details": details}
    wallet.web[f"{BASE}/token"] = reply(200, token)
    link = "openid-credential-offer://?" + urlencode({"credential_offer_uri": f"{BASE}/offer"})
    wallet.run(requested(wallet.kind, wallet.begin(link), wallet.given()))
    body = json.loads(wallet.asked("/credential")[0].body)
    assert body["credential_identifier"] == "staff-7"
    assert "credential_configuration_id" not in body


async def test_p5_what_must_not_be_kept_is_refused_and_the_issuer_is_told():
    wallet = Wallet()
    for bad in (Issuer(BASE).sd_jwt(wallet.holder, {}), wallet.issuer.sd_jwt(key(), {}), wallet.issuer.sd_jwt(wallet.holder, {}, exp=1),
                "garbage", "ü", wallet.good + "x.y.z"):  # fmt: skip
        wallet.calls.clear()
        wallet.web[f"{BASE}/credential"] = reply(200, {"credentials": [{"credential": bad}], "notification_id": "n-1"})
        with pytest.raises(MintFailedError):
            wallet.receive()
        assert json.loads(wallet.asked("/notification")[0].body)["event"] == "credential_failure"


BROKEN = {
    "/.well-known/openid-credential-issuer": [
        reply(404), reply(200, b"garbage"), reply(200, {}), reply(200, {**Wallet().metadata, "credential_issuer": f"{BASE}/"}),
        reply(200, {**Wallet().metadata, "credential_endpoint": "http://x.test/"}),
        reply(200, {**Wallet().metadata, "credential_configurations_supported": {"staff": {"format": "dc+sd-jwt", "vct": "x"}}}),
    ],
    "/.well-known/oauth-authorization-server": [reply(404), reply(200, {"issuer": "https://other.test"}), reply(200, {"issuer": BASE})],
    "/token": [reply(400, {"error": "invalid_grant"}), reply(200, {}), reply(200, b"[]"), reply(429, b"", Retry_After="9"),
               reply(200, {"access_token": "x" * 20, "token_type": "DPoP"})],
    "/nonce": [reply(500), reply(200, {"c_nonce": 7}), reply(200, b"garbage")],
    "/credential": [reply(400, {"error": "invalid_nonce"}), reply(200, {"credentials": []}), reply(200, {"credentials": [{}]}),
                    reply(202, {}), reply(200, b"garbage")],
}  # fmt: skip


@pytest.mark.parametrize(("path", "broken"), [(path, one) for path, several in BROKEN.items() for one in several])
async def test_p5_an_issuer_that_is_broken(path, broken):
    wallet = Wallet()
    wallet.web[f"{BASE}{path}"] = broken
    with pytest.raises(MintFailedError):
        wallet.receive()


async def test_p5_an_offer_of_an_issuer_that_the_profile_does_not_name():
    wallet = Wallet()
    wallet.offer["credential_issuer"] = "https://other.test"
    with pytest.raises(MintFailedError):
        wallet.begin()
    assert wallet.calls == []
    wallet = Wallet(authorization_servers=[BASE])
    wallet.offer["grants"]["urn:ietf:params:oauth:grant-type:pre-authorized_code"]["authorization_server"] = (
        "https://other.test"
    )
    with pytest.raises(MintFailedError):
        wallet.begin()
