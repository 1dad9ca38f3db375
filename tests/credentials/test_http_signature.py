"""`kind: http_signature`: RFC 9421 appendix B.2, the vectors of Web Bot Auth, and a server that verifies by itself."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import TypeAdapter, ValidationError

from proxy.credentials import CredentialSpec
from proxy.credentials.covered import Parameters, content_digest
from proxy.credentials.kind import Credential, Moment, Sign
from proxy.credentials.rfc9421 import prepared
from proxy.errors import Refused
from proxy.keys import software
from proxy.model import Authority, RequestHead
from proxy.secret import Secret
from tests.fakes.signature_server import SignatureServer, verify
from tests.rig.kinds import assert_never_shown, running_kind
from tests.rig.node import installed

ADAPTER = TypeAdapter(CredentialSpec)
NODE = Path(__file__).parent / "node"
KIND = {"kind": "http_signature", "components": ["@method", "@target-uri"]}
# RFC 9421, appendix B.1.1, B.1.3, B.1.4, B.1.5.
ED25519 = {"kty": "OKP", "crv": "Ed25519", "x": "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs", "d": "n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU"}  # fmt: skip
P256 = {"kty": "EC", "crv": "P-256", "x": "qIVYZVLCrPZHGHjP17CTW0_-D9Lfw0EkjqF7xB4FivA", "y": "Mc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0", "d": "UpuF81l-kOxbjf7T4mNSv0r5tN67Gim7rnf6EFpcYDs"}  # fmt: skip
RSA_PSS = {
    "kty": "RSA", "alg": "PS512", "e": "AQAB",
    "n": "r4tmm3r20Wd_PbqvP1s2-QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct-Lh1GH45x28Rw3Ry53mm-oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHqgDsznjPFmTOtCEcN2Z1FpWgchwuYLPL-Wokqltd11nqqzi-bJ9cvSKADYdUAAN5WUtzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4aOT9v6d-nb4bnNkQVklLQ3fVAvJm-xdDOp9LCNCN48V2pnDOkFV6-U9nV5oyc6XI2w",
    "d": "lAfIqfpCYomVShfAKnwf2lD9I0wKjkHsCtZCif4kAlwQqqW6N-tIL3bdOR-VWf0Q1ZBIDtpO91UrG7pansyrPERbNrRJlPiYEyPTHkCT1nD-l2isuiyGLNBNnFoKfBgA4KAbPJZQatFIV9Cn34JSHnpN5-2ehreGBYHtkwHFtlmzeF3yu5bqRcqOhx8lkYmBzDAEUFyyXjknU5-WjAT9DzuG0MpOTkcU1EnjnIjyVBZLUB5Lxm8puyq8hH8B_E5LNC-1oc8j-tDy98UvRTTiYvZvs87cGCFxg0LijNhg7CE3g9piNqB6DzMgA9MHSOwcElVtfKdYfo4H3OHZXsSmEQ",
    "p": "5V-6ISI5yEaCFXm-fk1EM2xwAWekePVCAyvr9QbTlFOCZwt9WwjUjhtKRusi5Uq-IYZ_tq2WRE4As4b_FHEMtp2AER43IcvmXPqKFBoUktVDS7dThIHrsnRi1U7dHqVdwiMEMe5jxKNgnsKLpnq-4NyhoS6OeWu1SFozG9J9xQk",
    "q": "w-wIde17W5Y0Cphp3ZZ0uM8OUq1AkrV2IKauqYHaDxAT32EM4ci2MMER2nIUEo4g_42lW0zYouFFqONwv0-HyOsgPpdSqKRC5WLgn0VXabjaNcy6KhNPXeJ0AgtqdiDwPeJ2_L_eKwNWQ43RfdQBUquAwSd7SEmmQ8sViqB628M",
    "dp": "otDolkxtJ7Sk8gmRJqZCGx6GAvlGznWJfibXPv6xgUAl-G83dD84YgcNGnoeMxRzEekfDtT5LVMRPF4_AoucsqPqHDyOdfb-dlGBYfOBVxj6w-xF5HE0lV_4J-HrI63Od9fTSn4lY5d1JjyCVJIcnBEAyiD6EUZbUBh23vDzRcE",
    "dq": "iZE1S6CpqmBoQDxOsXGQmaeBdhoCqkDSJhEDuS_dLhBq88FQa0UkcE1QvOK3J2Q21VnfDqGBx7SH1hOFOj-cpz45kNluB832ztxDvnHQ9AIA7h_HY_3VD6YPMNRVN4bfSYS3abdLR0Z7jsmInGJ9X0_fA0E2tkZIgXeas5EFU0M",
    "qi": "jRAqfYi_tKCjhP9eM0N2XaRlNeoYCTx06GlSLD8d0zc4ZZuEePY10LMGWI6Y_JC0CvvvQYhNa9sAj4hFjIVLsWeTplVVUezGO1ofLW4kYWVpnMpHgAY1pRM4kyzo1p3MKYY8DE1BA4KqhSOfhdGs6Ov3Dfj0migZeE7Fu7yc7Fc",
}  # fmt: skip
SHARED = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
BODY = b'{"hello": "world"}'
DIGEST = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"
HEAD = RequestHead(
    "POST", "https", Authority("example.com", 443), "/foo", ("foo",), "param=Value&Pet=dog",
    (("date", "Tue, 20 Apr 2021 02:07:55 GMT"), ("content-type", "application/json"), ("content-digest", DIGEST)), True, 18,
)  # fmt: skip
CREATED = 1618884473


def signer(jwk, algorithm=None):
    return software.load_for(Secret("jwk", json.dumps(jwk)), algorithm or "ES256")


def driven(fields, *, head=HEAD, body=BODY, jwk=ED25519, algorithm=None, secrets=None, now_s=CREATED, variables=None):
    """What the kind makes of `head`; its signatures are made here."""
    kind = ADAPTER.validate_json(orjson.dumps({**KIND, **fields}))
    key = signer(jwk, algorithm)
    credential = Credential(
        {name: Secret(name, value) for name, value in (secrets or {}).items()},
        facts=variables or {},
        keys={"signing": key.public},
    )
    proving = kind.prove(credential, head, body, Moment(now_s))
    try:
        step = next(proving)
        assert isinstance(step, Sign)
        proving.send(asyncio.run(key.sign(step.message)))
    except StopIteration as ended:
        return ended.value
    raise AssertionError("one signature is enough")


def one(head, name):
    (value,) = [value for key, value in head.headers if key == name]
    return value


# -- RFC 9421, appendix B.2 ------------------------------------------------------------------------------------------


def base_of(label, covered, *, keyid="test-key-rsa-pss", algorithm="rsa-pss-sha512", **options):
    options = {"include_alg": False, **options}
    return prepared(HEAD, BODY, covered, Parameters(label, algorithm, keyid, CREATED, **options))


@pytest.mark.parametrize(
    ("label", "covered", "options", "lines", "published"),
    [
        (
            "sig-b21", (), {"nonce": "b3k2pp5k7z-50gnwp.yemd"}, 1,
            "d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==",
        ),
        (
            "sig-b22", ("@authority", "content-digest", '"@query-param";name="Pet"'), {"tag": "header-example"}, 4,
            "LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==",
        ),
        (
            "sig-b23",
            ("date", "@method", "@path", "@query", "@authority", "content-type", "content-digest", "content-length"),
            {}, 9,
            "bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==",
        ),
    ],
)  # fmt: skip
def test_b21_to_b23_the_published_signature_is_one_of_our_base(label, covered, options, lines, published):
    made = base_of(label, covered, **options)
    assert made.base.count(b"\n") == lines - 1
    key = load_pem_private_key(signer(RSA_PSS, "PS512").pem(), None).public_key()
    verify(key, base64.b64decode(published), made.base)


def test_b25_the_shared_secret():
    fields = {
        "algorithm": "hmac-sha256", "secret": "shared", "key_encoding": "base64", "keyid": "test-shared-secret",
        "components": ["date", "@authority", "content-type"], "label": "sig-b25", "include_alg": False, "nonce": False,
        "lifetime_s": None,
    }  # fmt: skip
    head = driven(fields, secrets={"shared": SHARED}).head
    assert one(head, "signature-input") == (
        'sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"'
    )
    assert one(head, "signature") == "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:"


def test_b26_ed25519():
    fields = {
        "keyid": "test-key-ed25519", "label": "sig-b26", "include_alg": False, "nonce": False, "lifetime_s": None,
        "components": ["date", "@method", "@path", "@authority", "content-type", "content-length"],
    }  # fmt: skip
    head = driven(fields).head
    assert one(head, "signature") == (
        "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:"
    )
    assert one(head, "content-digest") == DIGEST == content_digest(BODY, "sha-512")


# -- Web Bot Auth: vectors of version 2 ------------------------------------------------------------------------------

BOT = RequestHead(
    "GET", "https", Authority("example.com", 443), "/path/to/resource", ("path", "to", "resource"), None, (), False
)


@pytest.mark.parametrize(
    ("label", "nonce", "agent", "signature"),
    [
        (
            "sig1",
            "zIW8+cdmA3vdYagbxojpONwa/l0EKJ/O3/wD486VvsQjO/RxPaSt6ZxvQaMcQzNnqKN/mQ6hpGiFro2L2qkz5A==",
            None,
            "QKN4fTdIYfh82fvoZCQiQA1weuozfCS/Led2zTMbewMMqH8PI2Wsy/5c4ao6B6D09nraNQdBNOADg8aM1MqfCg==",
        ),
        (
            "sig2",
            "n9p433xm+NJ3ph3upfBIGmsuwHw387YV7Q/F+6BSpGCVjYCqQw6rznNA8PVVLySrAWsv0hQtFioQb6E1YsauiA==",
            'agent2="https://signature-agent.test"',
            "RdNFx5Bj6au3YgAMQL/RzmUlZE8QZLIaXGRpw985hWnwPfMxT228NMk6ehRS1PSl4e8PhbNZACSanGdhEwYCCg==",
        ),
    ],
)
def test_web_bot_auth_vectors(label, nonce, agent, signature):
    key = signer(ED25519)
    assert key.public.thumbprint == "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U"
    head = BOT if agent is None else with_header(BOT, "signature-agent", agent)
    covered = ("@authority",) if agent is None else ("@authority", '"signature-agent";key="agent2"')
    parameters = Parameters(
        label, "ed25519", key.public.thumbprint, 1735689600, expires_s=4889289600, nonce=nonce, tag="web-bot-auth"
    )
    made = prepared(head, None, covered, parameters)
    signed = made.signed(head, asyncio.run(key.sign(made.base)))
    assert one(signed, "signature") == f"{label}=:{signature}:"


def with_header(head, name, value):
    return replace(head, headers=(*head.headers, (name, value)))


def test_web_bot_auth_by_the_kind():
    fields = {"components": ["@authority"], "tag": "web-bot-auth", "signature_agent": "https://bots.example"}
    head = driven(fields, head=with_header(BOT, "signature-agent", "the agent's"), body=None).head
    assert one(head, "signature-agent") == 'sig1="https://bots.example"'
    assert re.fullmatch(
        r'sig1=\("@authority" "signature-agent";key="sig1"\);created=1618884473;'
        r'keyid="poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U";alg="ed25519";expires=1618884773;nonce="[^"]{88}";tag="web-bot-auth"',
        one(head, "signature-input"),
    )


# -- around it -------------------------------------------------------------------------------------------------------


def test_signatures_of_others_stay_and_one_under_our_label_goes():
    head = with_header(HEAD, "signature-input", 'proxy=("@method");created=1, sig1=("@path");created=2')
    head = with_header(head, "signature", "proxy=:AAAA:, sig1=:BBBB:")
    signed = driven({}, head=head).head
    assert one(signed, "signature-input").startswith('proxy=("@method");created=1, sig1=("@method" "@target-uri");')
    assert one(signed, "signature").startswith("proxy=:AAAA:, sig1=:")
    assert "BBBB" not in one(signed, "signature")


def test_optional_components_are_covered_where_they_are():
    with_both = driven({"optional_components": ["content-type", "x-absent"]}).head
    assert '("@method" "@target-uri" "content-type")' in one(with_both, "signature-input")


def test_the_digest_of_the_agent_is_replaced():
    head = driven({"content_digest": "sha-256"}).head
    assert one(head, "content-digest") == "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
    assert '"content-digest")' in one(head, "signature-input")


@pytest.mark.parametrize(
    ("fields", "head"),
    [
        ({"components": ["x-absent"]}, HEAD),
        ({"components": ['"date";sf']}, with_header(BOT, "date", "not a structured field")),
        ({"components": ['"@query-param";name="q"']}, BOT),
        ({}, with_header(with_header(HEAD, "signature-input", "x=((("), "signature", "x=:AA==:")),
        ({}, with_header(HEAD, "signature-input", 'x=("@method")')),
    ],
)
def test_p5_what_cannot_be_signed_is_refused(fields, head):
    with pytest.raises(Refused) as refused:
        driven(fields, head=head)
    assert refused.value.denial.slug == "invalid_request"


def test_p5_a_variable_that_would_end_the_quotes_of_signature_agent_is_refused():
    fields = {"signature_agent": "https://{host}/x"}
    assert one(driven(fields, variables={"host": "a.example"}).head, "signature-agent") == 'sig1="https://a.example/x"'
    for host in ('a";x="b', "a\r\nb", "\u20ac"):
        with pytest.raises(Refused) as refused:
            driven(fields, variables={"host": host})
        assert refused.value.denial.slug == "credential_unavailable"


def test_p5_a_key_of_another_type_is_refused():
    with pytest.raises(Refused) as refused:
        driven({"algorithm": "ecdsa-p256-sha256"})
    assert refused.value.denial.slug == "credential_unavailable"


@pytest.mark.parametrize(
    "fields",
    [
        {"algorithm": "hmac-sha256"},
        {"algorithm": "hmac-sha256", "secret": "k"},
        {"secret": "k", "keyid": "x"},
        {"components": ["@status"]},
        {"components": ["@signature-params"]},
        {"components": ["Date"]},
        {"components": ["date", "date"]},
        {"signature_agent": "http://plain.example"},
        {"signature_agent": 'https://a.example/"'},
        {"tag": "web-bot-auth", "components": ["@method"]},
        {"tag": "web-bot-auth", "keyid": "mine"},
        {"tag": "web-bot-auth", "lifetime_s": None},
    ],
)
def test_what_makes_no_sense_is_refused_when_the_profile_is_read(fields):
    with pytest.raises(ValidationError):
        ADAPTER.validate_json(orjson.dumps({**KIND, **fields}))


# -- end to end ------------------------------------------------------------------------------------------------------


async def public_key(rig, slot="signing", algorithm="Ed25519"):
    keys = rig.sidecar.pipeline._broker._keys
    account = rig.sidecar.pipeline.generation.accounts["signed"][0].id
    made = await keys.signer(account, slot, None, algorithm)
    return load_pem_private_key(made.pem(), None).public_key(), made


@pytest.mark.parametrize(("algorithm", "jose"), [("ed25519", "Ed25519"), ("ecdsa-p256-sha256", "ES256")])
async def test_p1_signed_end_to_end_with_a_key_of_its_own(tmp_path, algorithm, jose):
    credential = {**KIND, "algorithm": algorithm, "content_digest": "sha-256"}
    async with running_kind(tmp_path, credential, {}) as rig:
        key, made = await public_key(rig, algorithm=jose)
        server = SignatureServer(key, needs=("@method", "@target-uri"))
        rig.provider.on("/x", server)
        answers = [await rig.call("POST", "/x?q=1", http2=http2, content=b"abc" * 99) for http2 in (False, True)]
        answers.append(await rig.call("GET", "/x"))
        proxy = {"Signature-Input": 'proxy=("@method");created=1', "Signature": "proxy=:AAAA:"}
        answers.append(await rig.call("GET", "/x", headers=proxy))
        assert [a.status for a in answers] == [200, 200, 200, 200], [a.body for a in answers]
        assert server.labels[-1] == ["proxy", "sig1"]
        server.skew_s = 400
        late = await rig.call("GET", "/x")
        assert (late.status, late.body) == (401, b"not now")
        wrong = await rig.call("GET", "/x", headers={"Signature": "x=((", "Signature-Input": "x"})
        assert wrong.problem == "invalid_request"
        await assert_never_shown(rig, [*answers, late, wrong], made.pem().decode().split("\n")[1])
        calls = await rig.settled(6)
        assert {(c.decision["credential_kind"], c.decision["account"]) for c in calls} == {
            ("http_signature", "signed/main")
        }


async def second_opinion(seen, host=None):
    """What the npm package web-bot-auth says of a request."""
    if (problem := installed(NODE)) is not None:
        pytest.skip(problem)
    told = {
        "url": f"https://{host or seen.one('host')}{seen.target}",
        "method": seen.method,
        "headers": dict(seen.headers),
        "jwk": {name: value for name, value in ED25519.items() if name != "d"},
    }
    command = ("node", str(NODE / "verify.mjs"))
    node = await asyncio.create_subprocess_exec(*command, stdin=-1, stdout=-1)
    out, _ = await node.communicate(json.dumps(told).encode())
    return out.decode().strip()


async def test_web_bot_auth_end_to_end_with_a_key_from_a_store(tmp_path):
    credential = {
        "kind": "http_signature", "components": ["@authority"], "tag": "web-bot-auth",
        "signature_agent": "https://bots.example",
    }  # fmt: skip
    path = tmp_path / "bot.jwk"
    path.write_text(json.dumps(ED25519))
    path.chmod(0o600)
    async with running_kind(tmp_path, credential, {}, account={"keys": {"signing": f"file:{path}"}}) as rig:
        key = load_pem_private_key(signer(ED25519).pem(), None).public_key()
        server = SignatureServer(
            object(), needs=("@authority", "signature-agent"), tag="web-bot-auth",
            directory={"poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U": key},
        )  # fmt: skip
        rig.provider.on("/x", server)
        answer = await rig.call("GET", "/x")
        assert (answer.status, answer.body) == (200, b"welcome")
        assert await second_opinion(rig.provider.last) == "verified"
        assert (await second_opinion(rig.provider.last, host="other.test")).startswith("refused")
        path.write_text(json.dumps(P256))  # a key of another type: nothing is sent
        before = len(rig.provider.requests)
        rotated = await rig.call("GET", "/x")
        assert (rotated.problem, len(rig.provider.requests)) == ("credential_unavailable", before)
        await assert_never_shown(rig, [answer, rotated], str(ED25519["d"]))
