"""`briefcased keys`: public halves, and a directory whose signatures a server of other code accepts."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from proxy.cli import application
from proxy.credentials import key_directory
from proxy.credentials.covered import Parameters, UnsignableError
from proxy.credentials.http_signature import WELL_KNOWN
from proxy.credentials.rfc9421 import prepared_answer
from proxy.keys import software
from proxy.secret import Secret
from tests.fakes.signature_server import verify

PROFILE = """\
schema: 1
name: bots
title: Bots
docs: https://bots.test/
checked: "2026-11-25"
hosts: [{host: api.bots.test}]
credentials: {it: {kind: http_signature, components: ["@authority"], tag: web-bot-auth}}
operations: [{id: any, methods: [GET], path: "/**", action: read}]
"""


@pytest.fixture
def keys(tmp_path, monkeypatch):
    """Runs `briefcased keys …` with two accounts: `made` has a key of ours, `stored` one in a file."""
    monkeypatch.setenv("BRIEFCASED_HOME", str(tmp_path / "home"))
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "bots.yaml").write_text(PROFILE)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    (tmp_path / "briefcased.yaml").write_text(
        f"version: 1\nprofiles: [{tmp_path}/profiles]\nproviders: {{bots: {{accounts: {{made: {{default: true}}, "
        f'stored: {{keys: {{signing: "file:{tmp_path}/key.pem"}}}}}}}}}}\n'
    )

    def run(*words, good=True):
        ended = CliRunner().invoke(application(), ["keys", *words, "-c", str(tmp_path / "briefcased.yaml")])
        assert (ended.exit_code == 0) == good, ended.output
        assert pem.decode().split("\n")[1] not in ended.output
        return ended.stdout if good else str(ended.exception or ended.output)

    return run


def test_list_new_and_show(keys):
    rows = json.loads(keys("list", "--json"))
    assert [(row["account"], row["rests"]) for row in rows] == [("bots/made", "not made yet"), ("bots/stored", "file")]
    assert "no key signing yet" in keys("show", "bots/made", good=False)
    made = json.loads(keys("new", "bots/made", "--json"))
    assert made == json.loads(keys("show", "bots/made", "--json"))
    assert (made["algorithm"], set(made["jwk"])) == ("Ed25519", {"kty", "crv", "x"})
    assert "already" in keys("new", "bots/made", good=False)
    assert "another place" in keys("new", "bots/stored", good=False)
    assert "accounts with keys: bots/made, bots/stored" in keys("show", "bots/nobody", good=False)
    assert "bots/made has no key other; it has signing" in keys("show", "bots/made", "--slot", "other", good=False)


@pytest.mark.parametrize("host", ["a b", "bots.example/path", "https://bots.example", "me@bots.example", "", "[::1"])
def test_a_directory_is_signed_for_a_host_and_nothing_else(keys, host):
    assert "no directory can be made: the place of the directory is not a host" in keys(
        "directory", "bots/stored", "--host", host, good=False
    )


def test_a_directory_of_two_keys_and_its_signatures(keys):
    document = json.loads(keys("directory", "bots/stored"))
    assert [set(member) for member in document["keys"]] == [{"kty", "crv", "x", "kid", "use"}]
    served = json.loads(keys("directory", "bots/made", "bots/stored", "--host", "bots.example"))
    fields, body = served["headers"], served["body"]
    assert fields["content-type"] == "application/http-message-signatures-directory+json"
    digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
    assert fields["content-digest"] == f"sha-256=:{digest}:"
    signatures = dict(re.findall(r"(binding\d)=:([^:]+):", fields["signature"]))
    for index, member in enumerate(json.loads(body)["keys"]):
        (parameters,) = re.findall(rf"binding{index}=(\(.*?\)[^,]*)", fields["signature-input"])
        assert f'keyid="{member["kid"]}"' in parameters
        assert 'tag="http-message-signatures-directory"' in parameters
        base = f'"@authority";req: bots.example\n"content-digest": {fields["content-digest"]}\n"@signature-params": {parameters}'
        public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(member["x"] + "="))
        verify(public, base64.b64decode(signatures[f"binding{index}"]), base.encode())


def test_p5_a_key_that_message_signatures_do_not_know_has_no_place_in_a_directory():
    signer = software.generate("PS256")
    with pytest.raises(UnsignableError):
        asyncio.run(key_directory.fields("bots.example", b"{}", [signer], created_s=1, expires_s=2))


def test_the_vector_of_a_signed_directory():
    """Web Bot Auth, directory response, version 1: with the key of RFC 9421, appendix B.1.4."""
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs", "d": "n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU"}  # fmt: skip
    signer = software.load(Secret("jwk", json.dumps(jwk)))
    fields = [
        ("content-type", key_directory.MEDIA_TYPE),
        ("content-digest", "sha-256=:CADMT2aBdV/rqQr/NIru64ERQkCobVvllA4V0fLFDu0=:"),
    ]
    parameters = Parameters(
        "binding0", "ed25519", signer.public.thumbprint, 1735689600, expires_s=4889289600, tag=key_directory.TAG
    )
    made = prepared_answer(f"https://signature-agent.test{WELL_KNOWN}", fields, key_directory.COVERED, parameters)
    signed = made.fields(asyncio.run(signer.sign(made.base)))
    assert signed["signature"] == (
        "binding0=:yiHq0TXrbpzbmlttAQMpYoAufitFJUWuNsakB7QQMoN0EHbo5o51bZRVR8az/ptTWCwllix9clrKXfGKwdPzBg==:"
    )
