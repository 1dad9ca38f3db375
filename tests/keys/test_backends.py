"""Keys that never come here: a SoftHSM2 token, and a remote signer; each signs requests that a server verifies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import load_der_public_key
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS

from proxy.keys.pkcs11 import Pkcs11Backend
from proxy.keys.pkcs11_signing import ED25519
from proxy.keys.pkcs11_uri import KeyUri, parse
from proxy.keys.refs import bad_key_ref
from proxy.keys.signer import KeyUnavailableError
from proxy.keys.verification import public_from, public_from_jwk, verified
from proxy.secretstore import SecretStores
from proxy.secretstore.env import EnvStore
from proxy.settings import Pkcs11
from tests.fakes.remote_signer import RemoteSignerServer, b64
from tests.fakes.signature_server import SignatureServer
from tests.rig.kinds import assert_never_shown, running_kind
from tests.rig.provider import Provider

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "pin-REAL-56789012"
SIGNED = {"kind": "http_signature", "algorithm": "ecdsa-p256-sha256", "components": ["@method", "@target-uri"]}
HOST, SIGNER = "api.example.test", "signer.example.test"


# -- refs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "uri"),
    [
        ("token=my%20token;object=payments", KeyUri("my token", None, "payments", None)),
        ("id=%01%FF;type=private", KeyUri(None, None, None, b"\x01\xff")),
        ("object=k;serial=12ab;manufacturer=x;model=y", KeyUri(None, "12ab", "k", None)),
    ],
)
def test_uris(place, uri):
    assert parse(place) == uri
    assert bad_key_ref(f"pkcs11:{place}") is None


@pytest.mark.parametrize(
    "ref",
    [
        "pkcs11:", "pkcs11:token=t", "pkcs11:object=a;object=b", "pkcs11:object=a?pin-value=1234", "pkcs11:object=a;x-y=1",
        "pkcs11:object=a;type=public", "pkcs11:object", "signer:https://host/v1", "signer:http://host/v1#k",
        "signer:https://user@host/v1#k", "signer:https://host/v1#a/b", "signer:#k", "hsm:object=a",
    ],
)  # fmt: skip
def test_p5_refs_that_name_no_key_are_refused_and_not_repeated(ref):
    problem = bad_key_ref(ref)
    assert problem is not None
    assert "1234" not in problem


def test_a_public_key_of_another_is_checked():
    for document in ({}, {"kty": "oct", "k": "AA"}, {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": ["EC"]},
                     {"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}):  # fmt: skip
        with pytest.raises(KeyUnavailableError):
            public_from_jwk(document, None)


# -- a token ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def token(tmp_path_factory):
    """A SoftHSM2 token with the keys `payments` (P-256), `rsa`, `p384`, `p521`, `k256` and two of Ed25519, whose curve is
    named in either way; its module is loaded once per process."""
    if shutil.which("softhsm2-util") is None or not MODULE.exists():
        pytest.skip("needs SoftHSM2 (Debian: softhsm2)")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    made = ["softhsm2-util", "--init-token", "--free", "--label", "briefcase", "--so-pin", "so-pin-1234", "--pin", PIN]
    subprocess.run(made, check=True, capture_output=True)
    import pkcs11
    from pkcs11.util.ec import encode_named_curve_parameters

    with pkcs11.lib(str(MODULE)).get_token(token_label="briefcase").open(rw=True, user_pin=PIN) as session:
        curves = {"payments": "secp256r1", "p384": "secp384r1", "p521": "secp521r1", "k256": "secp256k1"}
        for label, curve in curves.items():
            wanted = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
            domain = session.create_domain_parameters(pkcs11.KeyType.EC, wanted, local=True)
            domain.generate_keypair(store=True, label=label, id=label.encode())
        for label, params in zip(("ed", "ed-oid"), ED25519, strict=True):
            make_edwards(session, label, params)
        session.generate_keypair(pkcs11.KeyType.RSA, 2048, store=True, label="rsa", id=b"rsa")
    return "token=briefcase"


def make_edwards(session, label, params=ED25519[0]):
    import pkcs11

    wanted = {pkcs11.Attribute.EC_PARAMS: params}
    domain = session.create_domain_parameters(pkcs11.KeyType.EC_EDWARDS, wanted, local=True)
    made = pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN
    domain.generate_keypair(mechanism=made, store=True, label=label, id=label.encode())


@pytest.fixture
def backend(token):
    """Makes backends; what they have opened ends with the test, because a login counts for the whole process."""
    made = []

    def make(pin=PIN, module=MODULE):
        stores = SecretStores({"env": EnvStore({"PIN": pin})})
        made.append(Pkcs11Backend(Pkcs11(module=module, pin="env:PIN"), stores=stores))
        return made[-1]

    yield make
    for tokens in made:
        for session in tokens._sessions.values():
            session.close()


@pytest.mark.parametrize(
    ("label", "wanted", "algorithm"),
    [("payments", None, "ES256"), ("payments", "PS256", "ES256"), ("p384", "ES384", "ES384"), ("p521", "ES512", "ES512"),
     ("ed", "Ed25519", "Ed25519"), ("ed", "EdDSA", "EdDSA"), ("ed-oid", None, "Ed25519"), ("rsa", None, "RS256"),
     *(("rsa", way, way) for way in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")), ("rsa", "ES256", "RS256")],
)  # fmt: skip
async def test_a_token_signs(token, backend, label, wanted, algorithm):
    signer = await backend().signer(f"{token};object={label}", wanted)
    assert signer.public.algorithm == algorithm
    made = await signer.sign(b"message")
    assert verified(signer.public, b"message", made) == made
    with pytest.raises(KeyUnavailableError):
        verified(signer.public, b"another", made)
    judge = JWS()  # of jwcrypto: other code than ours
    head, body = b64(json.dumps({"alg": algorithm.replace("Ed25519", "EdDSA")}).encode()), b64(b"message")
    signature = await signer.sign(f"{head}.{body}".encode())
    judge.deserialize(f"{head}.{body}.{b64(signature)}", JWK(**signer.public.jwk))


async def test_a_key_that_was_replaced_in_the_token_is_looked_at_anew(token, backend):
    import pkcs11

    tokens, place = backend(), f"{token};object=changing"
    with pkcs11.lib(str(MODULE)).get_token(token_label="briefcase").open(rw=True, user_pin=PIN) as session:
        make_edwards(session, "changing")
        before = await tokens.signer(place, None)
        assert await before.sign(b"message")
        for found in session.get_objects({pkcs11.Attribute.LABEL: "changing"}):
            found.destroy()
        make_edwards(session, "changing")
    with pytest.raises(KeyUnavailableError):
        await (await tokens.signer(place, None)).sign(b"message")
    after = await tokens.signer(place, None)
    assert await after.sign(b"message")
    assert after.public != before.public


async def test_p5_a_pin_that_was_refused_is_not_tried_again(token, backend):
    import pkcs11

    found = pkcs11.lib(str(MODULE)).get_token(token_label="briefcase")
    known = {"env": EnvStore({"PIN": "not-the-pin"})}
    tokens = Pkcs11Backend(Pkcs11(module=MODULE, pin="env:PIN"), stores=SecretStores(known))
    with pytest.raises(KeyUnavailableError, match="PinIncorrect"):
        await tokens.signer(f"{token};object=payments", None)
    for place in (f"{token};object=payments", f"{token};serial={found.serial.decode()};object=rsa"):
        with pytest.raises(KeyUnavailableError, match="not tried again"):
            await tokens.signer(place, None)
    known["env"] = EnvStore({"PIN": PIN})
    assert await (await tokens.signer(f"{token};object=payments", None)).sign(b"message")
    for session in tokens._sessions.values():
        session.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of the library, for a closed session
async def test_a_session_that_ended_is_opened_again(token, backend):
    tokens = backend()
    signer = await tokens.signer(f"{token};id=payments", None)
    next(iter(tokens._sessions.values())).close()
    assert await signer.sign(b"message")


async def test_p5_a_token_that_cannot_be_used(token, backend):
    wrong = (
        (backend(pin="wrong-pin"), f"{token};object=payments"),  # first: a login counts for the whole process
        (backend(), f"{token};object=missing"),
        (backend(), f"{token};object=k256"),
        (backend(pin="\udcff-PIN"), f"{token};object=payments"),
        (backend(), "token=another;object=payments"),
        (backend(module=Path("/nowhere.so")), f"{token};object=payments"),
        (backend(module=None), f"{token};object=payments"),
    )
    for tokens, place in wrong:
        with pytest.raises(KeyUnavailableError) as failed:
            await tokens.signer(place, None)
        assert PIN not in str(failed.value)


async def test_p1_requests_signed_in_a_token_end_to_end(token, tmp_path):
    pin = tmp_path / "pin"
    pin.write_text(PIN)
    settings = {"keys": {"pkcs11": {"module": str(MODULE), "pin": f"file:{pin}"}}}
    account = {"keys": {"signing": f"pkcs11:{token};object=payments"}}
    async with running_kind(tmp_path, SIGNED, {}, account=account, settings=settings) as rig:
        server = SignatureServer(await public_key_in(token))
        rig.provider.on("/x", server)
        answers = [await rig.call(method, "/x") for method in ("GET", "POST")]
        assert [(a.status, a.body) for a in answers] == [(200, b"welcome")] * 2
        await assert_never_shown(rig, answers, PIN)


async def public_key_in(token):
    import pkcs11
    from pkcs11.util.ec import encode_ec_public_key

    with pkcs11.lib(str(MODULE)).get_token(token_label="briefcase").open() as session:
        found = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label="payments")
        return load_der_public_key(encode_ec_public_key(found))


# -- a remote signer -------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def remote(tmp_path):
    """A rig whose account's key rests with a remote signer; that signer, and its server."""
    (tmp_path / "signer").mkdir()
    server, signer = Provider(tmp_path / "signer", (SIGNER,)), RemoteSignerServer()
    await server.start()
    server.on("/v1/keys/payments", signer)
    server.on("/v1/sign", signer)
    url = f"https://{SIGNER}:{server.port}/v1"
    (tmp_path / "token").write_text(signer.token)
    described = {"url": url, "token": f"file:{tmp_path / 'token'}", "ca_bundle": str(server.root)}
    account = {"keys": {"signing": f"signer:{url}#payments"}}
    resolve = {HOST: ("127.0.0.1",), SIGNER: ("127.0.0.1",)}
    settings = {"keys": {"signers": [described]}}
    async with running_kind(tmp_path, SIGNED, {}, account=account, settings=settings, resolve=resolve) as rig:
        rig.provider.on("/x", SignatureServer(signer.key.public_key()))
        yield rig, signer, server
    await server.stop()


async def test_p1_requests_signed_remotely_end_to_end(remote):
    rig, signer, server = remote
    answers = [await rig.call(method, "/x") for method in ("GET", "POST")]
    assert [(a.status, a.body) for a in answers] == [(200, b"welcome")] * 2
    assert (signer.fetched, len(signer.asked)) == (1, 2)
    assert {(q["key"], q["algorithm"]) for q in signer.asked} == {("payments", "ES256")}
    await assert_never_shown(rig, answers, signer.token)


RUDE = {
    "garbage": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\xff\xff\xff",
    "a list": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    "a number": b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"signature":1}',
    "a wrong one": b'HTTP/1.1 200 OK\r\nContent-Length: 102\r\n\r\n{"signature":"' + b"A" * 86 + b'"}',
    "an empty one": b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"signature":""}',
    "huge": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"{" * 99999,
    "busy": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n",
    "not http": b"hello\r\n\r\n",
}


async def test_p5_a_signer_that_is_rude_or_gone_sends_nothing(remote, tmp_path):
    rig, signer, server = remote
    for bad in ("signer-\x01token-REAL-0123456789", "signer-\u00fctoken-REAL-0123456789"):
        (tmp_path / "token").write_text(bad)
        assert (await rig.call("GET", "/x")).problem == "credential_unavailable"
    (tmp_path / "token").write_text(signer.token)
    for rude in RUDE.values():
        signer.rude = rude
        assert (await rig.call("GET", "/x")).problem == "credential_unavailable"
    signer.rude, token = None, signer.token
    signer.token = "another-token-0123456789"
    assert (await rig.call("GET", "/x")).problem == "credential_unavailable"
    signer.token = token
    assert (await rig.call("GET", "/x")).status == 200
    sent = len(rig.provider.requests)
    await server.stop()
    assert (await rig.call("GET", "/x")).problem == "credential_unavailable"
    assert len(rig.provider.requests) == sent == 1


async def test_a_key_that_the_signer_has_changed_is_asked_for_again(remote):
    rig, signer, _ = remote
    assert (await rig.call("GET", "/x")).status == 200
    signer.key = RemoteSignerServer().key
    rig.provider.on("/x", SignatureServer(signer.key.public_key()))
    assert (await rig.call("GET", "/x")).problem == "credential_unavailable"  # its signature is not of the key we know
    assert (await rig.call("GET", "/x")).status == 200
    assert signer.fetched == 2


def test_public_from_agrees_with_what_the_signer_says():
    signer = RemoteSignerServer()
    assert public_from(signer.key.public_key(), None) == public_from_jwk(signer.jwk(), "ES256")
