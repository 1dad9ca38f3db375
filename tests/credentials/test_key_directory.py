"""The key directory of Web Bot Auth, as the control listener serves it: what a verifier finds there, and nobody else."""

from __future__ import annotations

import base64
import re
import time

import httpx
import pytest
import pytest_asyncio
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from proxy.credentials.http_signature import WELL_KNOWN
from tests.fakes.signature_server import SignatureServer, verify
from tests.rig import running_rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
PROFILE = """\
schema: 1
name: bots
title: Bots
docs: https://bots.test/
checked: "2026-11-26"
hosts: [{{host: api.example.test, port: {port}}}]
variables: {{agent: {{default: bots.example}}}}
credentials:
  it: {{kind: http_signature, components: ["@authority"], tag: web-bot-auth, signature_agent: "https://{{agent}}"}}
operations: [{{id: any, methods: [GET], path: "/**", action: read}}]
"""


class Stage:
    def __init__(self, rig, key):
        self.rig, self.key = rig, key

    async def get(self, host, method="GET"):
        address = "http://{}:{}".format(*self.rig.sidecar.control)
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.request(method, address + WELL_KNOWN, headers={"Host": host})


def pem():
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("directory")
    (folder / "key.pem").write_bytes(pem())
    (folder / "bad.pem").write_bytes(b"no key at all, and CANARY")
    stored = {"keys": {"signing": f"file:{folder / 'key.pem'}"}}
    named = {
        "own": {"default": True},
        "stored": stored,
        "twice": stored,
        "other": {"variables": {"agent": "other.example"}},
        "broken": {"keys": {"signing": f"file:{folder / 'bad.pem'}"}, "variables": {"agent": "broken.example"}},
    }
    async with running_rig(
        folder, profiles={"bots": PROFILE}, settings={"providers": {"bots": {"accounts": named}}}
    ) as rig:
        yield Stage(rig, folder / "key.pem")


def keys_of(answer):
    return {
        member["kid"]: Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(member["x"] + "="))
        for member in answer.json()["keys"]
    }


def proved(answer, host):
    """The keys that have signed `answer` as one of `host`: read, rebuilt and judged without our code."""
    found, signatures = keys_of(answer), dict(re.findall(r"(binding\d+)=:([^:]+):", answer.headers["signature"]))
    good = set()
    for label, parameters in re.findall(r"(binding\d+)=(\([^)]*\)[^,]*)", answer.headers["signature-input"]):
        said = dict(re.findall(r';([a-z]+)="?([^";]*)', parameters))
        assert said["tag"] == "http-message-signatures-directory"
        assert int(said["created"]) <= time.time() < int(said["expires"]) <= time.time() + 3600
        base = (
            f'"@authority";req: {host}\n"content-digest": {answer.headers["content-digest"]}\n'
            f'"@signature-params": {parameters}'
        )
        verify(found[said["keyid"]], base64.b64decode(signatures[label]), base.encode())
        good.add(said["keyid"])
    return good


async def test_every_key_of_a_host_is_there_once_and_has_signed_for_that_host(stage):
    answer = await stage.get("bots.example")
    assert (answer.status_code, answer.headers["content-type"]) == (
        200,
        "application/http-message-signatures-directory+json",
    )
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert len(keys_of(answer)) == 2
    assert proved(answer, "bots.example") == keys_of(answer).keys()
    with pytest.raises(InvalidSignature):
        proved(answer, "mirror.example")
    other = await stage.get("other.example")
    assert proved(other, "other.example") == keys_of(other).keys()
    assert not keys_of(other).keys() & keys_of(answer).keys()


async def test_p1_only_public_halves_are_there(stage):
    answer = await stage.get("bots.example")
    assert [set(member) for member in answer.json()["keys"]] == [{"kty", "crv", "x", "kid", "use"}] * 2
    secret = "".join(stage.key.read_text().splitlines()[1:-1])
    assert secret not in answer.text


async def test_a_verifier_that_looks_there_believes_the_agents_requests(stage):
    directory = keys_of(await stage.get("bots.example"))
    stage.rig.provider.on("/x", SignatureServer(object(), ("@authority",), "web-bot-auth", directory))
    assert (await stage.rig.call("GET", "/x")).body == b"welcome"
    assert stage.rig.provider.last.one("signature-agent") == 'sig1="https://bots.example"'


@pytest.mark.parametrize("host", ["mirror.example", "bots.example:8443", "127.0.0.1", "a b", "bots.example@x"])
async def test_nothing_is_signed_for_a_host_that_nobody_has_configured(stage, host):
    answer = await stage.get(host)
    assert answer.status_code in (400, 404)
    assert "signature" not in answer.headers


async def test_it_is_made_once_until_another_configuration_counts(stage):
    first = await stage.get("bots.example")
    assert (await stage.get("BOTS.example:443")).headers["signature"] == first.headers["signature"]
    head = await stage.get("bots.example", "HEAD")
    assert (head.headers["signature"], head.content) == (first.headers["signature"], b"")
    stage.key.write_bytes(pem())
    await stage.rig.sidecar.reload(stage.rig.configuration)
    second = await stage.get("bots.example")
    assert len(keys_of(second).keys() - keys_of(first).keys()) == 1
    assert proved(second, "bots.example") == keys_of(second).keys()


async def test_p5_without_one_of_its_keys_there_is_no_directory(stage):
    answer = await stage.get("broken.example")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "CANARY" not in answer.text
