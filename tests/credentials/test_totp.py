"""`kind: totp`: the vectors of RFC 6238, appendix B, and its places."""

from __future__ import annotations

import base64
import hmac
import time

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError

from proxy.credentials import CredentialSpec
from proxy.credentials.kind import Credential, Moment
from proxy.credentials.totp import one_time_password
from proxy.errors import Refused
from proxy.model import Authority, RequestHead, ResponseHead
from proxy.secret import Secret
from tests.fakes.signed_api import reply
from tests.rig.kinds import assert_never_shown, running_kind

ADAPTER = TypeAdapter(CredentialSpec)
SEED = b"12345678901234567890"
HEAD = RequestHead("POST", "https", Authority("a.test", 443), "/", ("",), "otp=1", (), True)


@pytest.mark.parametrize(
    ("now_s", "codes"),
    [
        (59, ("94287082", "46119246", "90693936")),
        (1111111109, ("07081804", "68084774", "25091201")),
        (1111111111, ("14050471", "67062674", "99943326")),
        (1234567890, ("89005924", "91819424", "93441116")),
        (2000000000, ("69279037", "90698825", "38618901")),
        (20000000000, ("65353130", "77737706", "47863826")),
    ],
)
def test_rfc_6238_appendix_b(now_s, codes):
    for algorithm, size, code in zip(("sha1", "sha256", "sha512"), (20, 32, 64), codes, strict=True):
        key = (SEED * 4)[:size]
        assert one_time_password(key, now_s, period_s=30, digits=8, algorithm=algorithm) == code


def placed(fields, *, secret="GEZD GNBV-gy3t qojq GEZDGNBVGY3TQOJQ", body=b"{}"):
    kind = ADAPTER.validate_json(orjson.dumps({"kind": "totp", "secret": "k", "digits": 8, **fields}))
    return kind.at(Credential({"k": Secret("k", secret)}), HEAD, body, 59)


def test_places():
    assert dict(placed({"header": "X-OTP"}).head.headers) == {"x-otp": "94287082"}
    assert placed({"query": "otp"}).head.query == "otp=94287082"
    assert placed({"body": "json", "pointer": "/otp"}, body=b'{"a":1}').body == b'{"a":1,"otp":"94287082"}'
    assert placed({"body": "form", "pointer": "otp"}, body=b"a=1").body == b"a=1&otp=94287082"


@pytest.mark.parametrize("secret", ["not base32!", "1", "A"])
def test_p5_a_secret_that_is_not_base32_is_refused(secret):
    with pytest.raises(Refused):
        placed({"header": "X"}, secret=secret)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"header": "A", "query": "b"},
        {"body": "json"},
        {"body": "json", "pointer": "x"},
        {"header": "A", "pointer": "/x"},
    ],
)
def test_it_has_one_place(fields):
    with pytest.raises(ValidationError):
        placed(fields)


@pytest.mark.parametrize("beside", [False, True])
async def test_a_code_that_counts_once_is_sent_once_end_to_end(tmp_path, beside):
    fields = {"kind": "totp", "secret": "seed", "header": "X-OTP", "period_s": 300, "once": True}
    if beside:
        token = {"kind": "header", "header": "Authorization", "secret": "seed"}
        fields = {"kind": "several", "parts": [token, fields]}
    codes = []

    async def strict(seen, _reader, writer):
        codes.append(seen.one("x-otp"))
        reply(writer, "200 OK" if codes.count(codes[-1]) == 1 else "401 No", "welcome")

    async with running_kind(tmp_path, fields, {"seed": "GEZDGNBVGY3TQOJQ"}) as rig:
        rig.provider.on("/x", strict)
        before = int(time.time()) // 300
        first, second = [await rig.call("GET", "/x") for _ in range(2)]
        assert first.status == 200
        if int(time.time()) // 300 == before:
            assert (second.problem, len(codes)) == ("credential_unavailable", 1)
            assert 0 < int(second.headers["retry-after"]) <= 300
        else:
            assert (second.status, len(set(codes))) == (200, 2)


def test_a_code_that_counts_once_serves_again_in_the_next_period():
    kind = ADAPTER.validate_json(orjson.dumps({"kind": "totp", "secret": "k", "header": "X", "once": True}))
    credential = Credential({"k": Secret("k", "GEZDGNBVGY3TQOJQ")})
    facts = kind.learn(credential, HEAD, ResponseHead(500, ()), Moment(59)).facts
    with pytest.raises(Refused) as refused:
        next(kind.prove(credential, HEAD, None, Moment(31, facts)))
    assert refused.value.denial.retry_after_s == 29
    for moment in (Moment(60, facts), Moment(29, facts), Moment(59)):
        with pytest.raises(StopIteration):
            next(kind.prove(credential, HEAD, None, moment))


async def test_p1_beside_a_token_end_to_end(tmp_path):
    seed = base64.b32encode(b"a seed of twenty bytes").decode().rstrip("=")
    parts = [
        {"kind": "header", "header": "Authorization", "prefix": "Bearer ", "secret": "token"},
        {"kind": "totp", "secret": "seed", "body": "form", "pointer": "otp"},
    ]

    async def verifying(seen, _reader, writer):
        steps = [int(time.time()) // 30 + drift for drift in (0, -1)]
        macs = [hmac.new(b"a seed of twenty bytes", step.to_bytes(8, "big"), "sha1").digest() for step in steps]
        codes = {str(int.from_bytes(m[m[19] & 15 :][:4], "big") % 2**31)[-6:].zfill(6) for m in macs}
        code = seen.body.decode().partition("otp=")[2]
        good = seen.one("authorization") == "Bearer tok-REAL-0123456789" and code in codes
        reply(writer, "200 OK" if good else "401 No", f"seed {seed}")

    async with running_kind(
        tmp_path, {"kind": "several", "parts": parts}, {"token": "tok-REAL-0123456789", "seed": seed}
    ) as rig:
        rig.provider.on("/x", verifying)
        answers = [await rig.call("POST", "/x", data={"a": "1"}), await rig.call("POST", "/x")]
        assert [a.status for a in answers] == [200, 200]
        await assert_never_shown(rig, answers, seed, "tok-REAL-0123456789")
