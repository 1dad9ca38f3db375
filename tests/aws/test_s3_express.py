"""Directory buckets: the session is opened by the sidecar, the agent holds stand-ins; boto3 and botocore's signer judge."""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import boto3
import pytest
import pytest_asyncio
from botocore.auth import S3ExpressAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from proxy.aws.signing import UNSIGNED, Keys, Scope, Unsigned, sign_headers
from tests.aws.conftest import KEY, KEY_ID, Aws, escaped
from tests.fakes.sts import ERROR, http
from tests.rig.sidecar import running_rig

together = pytest.mark.asyncio(loop_scope="module")
ZONE = "s3express-use1-az4.us-east-1.amazonaws.com"
PETS, OTHERS = f"pets--use1-az4--x-s3.{ZONE}", f"others--use1-az4--x-s3.{ZONE}"
PROFILE = """\
schema: 1
name: express
title: Express
docs: https://docs.aws.amazon.com/
checked: "2026-11-26"
hosts: [{host: "*.s3express-use1-az4.us-east-1.amazonaws.com", port: @port@}]
secrets:
  access_key_id: {env: [AWS_ACCESS_KEY_ID], stand_in: {template: "AKIA{base32:16}"}}
  secret_access_key: {env: [AWS_SECRET_ACCESS_KEY], stand_in: {length: 40}}
  session_token: {env: [AWS_SESSION_TOKEN], stand_in: {length: 200}}
variables: {bucket: {}, mode: {default: ReadWrite}}
credentials:
  session: {kind: aws_s3_express, bucket_url: "https://{bucket}.s3express-use1-az4.us-east-1.amazonaws.com:@port@"}
operations:
  - {id: session, methods: [GET], path: "/", query: {session: "*"}, action: read, answer: {kind: aws_s3_session}}
  - {id: read, methods: [GET, HEAD], path: "/**", action: read, allow_range: true}
  - {id: write, methods: [POST, PUT, DELETE], path: "/**", action: write}
"""
SESSION = """<?xml version="1.0" encoding="UTF-8"?>
<CreateSessionResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Credentials><SessionToken>{token}</SessionToken>
<SecretAccessKey>{key}</SecretAccessKey><AccessKeyId>{key_id}</AccessKeyId><Expiration>{ends}</Expiration></Credentials></CreateSessionResult>"""


class Buckets(Aws):
    """Gives sessions for signed requests, and judges the rest."""

    async def start(self):
        await super().start()
        self.asked, self.raw, self.lasts_s = [], None, 300

    async def answer(self, seen, _reader, writer):
        if seen.target != "/?session":
            self.verdicts.append(self.verifier.judge(seen))
            writer.write(http(200 if self.verdicts[-1] is None else 403, ""))
            return
        self.asked.append(seen)
        if self.raw is not None:
            writer.write(self.raw)
            return
        assert self.verifier.judge(seen) is None
        key_id, key, token = f"ASIA{secrets.token_hex(8).upper()}", secrets.token_hex(20), secrets.token_hex(100)
        self.verifier.keys[key_id], self.verifier.tokens[key_id] = key, token
        self.verifier.express.add(key_id)
        ends = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.lasts_s)
        writer.write(
            http(200, SESSION.format(key_id=key_id, key=key, token=token, ends=ends.strftime("%Y-%m-%dT%H:%M:%SZ")))
        )


@asynccontextmanager
async def buckets(folder):
    provider = Buckets(folder, (PETS, OTHERS))
    await provider.start()
    keys = {"access_key_id": "env:ID", "secret_access_key": "env:KEY"}
    accounts = {"pets": {"secrets": keys, "variables": {"bucket": "pets--use1-az4--x-s3"}, "default": True}}
    async with running_rig(
        folder, profiles={"express": escaped(PROFILE)}, settings={"providers": {"express": {"accounts": accounts}}},
        environment={"ID": KEY_ID, "KEY": KEY}, hosts=(PETS, OTHERS), provider=provider,
    ) as found:  # fmt: skip
        yield found
    await provider.stop()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rig(tmp_path_factory):
    async with buckets(tmp_path_factory.mktemp("express")) as found:
        yield found


def url(rig, rest="/k", host=PETS):
    return f"https://{host}:{rig.provider.port}{rest}"


@together
async def test_a_session_is_opened_once_and_signs(rig):
    provider = rig.provider
    for method, rest, more in (
        ("PUT", "/a%20b/c(d)", {}), ("GET", "/k?x=1", {}), ("GET", f"/k?{presigned(rig)}", {}),
        ("PUT", "/k", {"x-amz-content-sha256": UNSIGNED, "x-amz-s3session-token": "smuggled", "x-amz-security-token": "smuggled"}),
    ):  # fmt: skip
        answer = await rig.call(method, url(rig, rest), headers=more, content=b"miau" if method == "PUT" else b"")
        assert (answer.status, provider.verdicts.pop()) == (200, None), rest
        assert b"smuggled" not in provider.last.head
        assert b"security-token" not in provider.last.head.lower()
        assert provider.verifier.express & set(
            provider.last.head.decode().replace("%2F", "/").replace("=", "/").split("/")
        )
    assert [seen.one("x-amz-create-session-mode") for seen in provider.asked] == ["ReadWrite"]
    answer = await rig.call("PUT", url(rig), headers={"x-amz-copy-source": "/pets--use1-az4--x-s3/a"})
    assert (answer.status, provider.verdicts.pop()) == (200, None)
    assert KEY_ID in provider.last.one("authorization")  # copies take no session
    calls = await rig.settled(5)
    assert {call.decision["credential_kind"] for call in calls} == {"aws_s3_express"}


def presigned(rig):
    key_id = rig.stand_in("express", "access_key_id")
    return (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={key_id}%2F20261125%2Fus-east-1%2Fs3express%2Faws4_request&X-Amz-Date=20261125T000000Z"
        "&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-S3session-Token=smuggled&X-Amz-Signature=00"
    )


@together
async def test_p1_the_agents_own_session_is_made_of_stand_ins(rig):
    before = len(rig.provider.asked)
    answer = await rig.call("GET", url(rig, "/?session"))
    assert answer.status == 200
    for slot in ("access_key_id", "secret_access_key", "session_token"):
        assert rig.stand_in("express", slot).encode() in answer.body
    assert len(rig.provider.asked) == before
    for rest in ("/k?session", "/?%73ession=&x"):  # whatever is not answered is not signed either
        answer = await rig.call("POST" if "x" in rest else "GET", url(rig, rest))
        assert answer.problem == "operation_not_allowed", rest
    answer = await rig.call("GET", url(rig, host=OTHERS))
    assert answer.problem == "credential_scope"
    assert not any(OTHERS in seen.host for seen in rig.provider.requests)


BAD = [
    (http(403, ERROR.format(code="AccessDenied", message="LEAKED")), "credential_unavailable"),
    (http(403, ERROR.format(code="InvalidAccessKeyId", message="LEAKED")), "credential_revoked"),
    (http(503, ERROR.format(code="SlowDown", message="LEAKED"), "Retry-After: 99999999999999999999"), "token_endpoint_error"),
    (http(200, "<garbage"), "token_endpoint_error"),
    (http(200, SESSION.format(key_id="ASIAABCDEFGHIJKLMNOP", key="k" * 40, token="t" * 99, ends="2036-01-01T00:00:00Z")), "token_endpoint_error"),
    (http(302, "", "Location: https://elsewhere.test/"), "token_endpoint_error"),
    (b"nonsense\r\n\r\n", "token_endpoint_error"),
]  # fmt: skip


@together
async def test_p5_what_is_no_session_is_never_used(rig, caplog):
    broker = rig.sidecar.pipeline._broker
    for raw, problem in BAD:
        rig.provider.raw = raw
        broker._entries.clear()
        broker._failures.clear()  # as if the time to back off had passed
        answer = await rig.call("GET", url(rig))
        assert answer.problem == problem, raw[:80]
        assert "LEAKED" not in answer.body.decode() + caplog.text
    rig.provider.raw, rig.provider.lasts_s = None, 10
    broker._failures.clear()
    assert (await rig.call("GET", url(rig))).problem == "token_endpoint_error"  # ends too soon to be of use
    rig.provider.lasts_s = 300
    broker._failures.clear()


@pytest.mark.slow
@together
async def test_boto3_is_an_agent(rig):
    def work():
        s3 = boto3.client(
            "s3", "us-east-1", endpoint_url=f"https://{ZONE}:{rig.provider.port}", verify=str(rig.bundle),
            aws_access_key_id=rig.stand_in("express", "access_key_id"), aws_secret_access_key=rig.stand_in("express", "secret_access_key"),
            config=Config(proxies={"https": rig.url()}, retries={"total_max_attempts": 1}),
        )  # fmt: skip
        s3.put_object(Bucket="pets--use1-az4--x-s3", Key="a b/(c)+d.txt", Body=b"miau" * 1000)
        s3.get_object(Bucket="pets--use1-az4--x-s3", Key="a b/(c)+d.txt")
        shown = s3.generate_presigned_url("get_object", {"Bucket": "pets--use1-az4--x-s3", "Key": "k"})
        assert rig.stand_in("express", "session_token") in shown

    rig.provider.verdicts.clear()
    await asyncio.to_thread(work)
    assert set(rig.provider.verdicts) == {None}
    for seen in rig.provider.requests:
        assert rig.stand_in("express", "session_token").encode() not in seen.head


def test_botocore_signs_the_same():
    keys = Keys("ASIAEXAMPLEEXAMPLE00", "k" * 40, "a/session+token==", express=True)
    unsigned = Unsigned("PUT", PETS, "/a%20b?x=1", (("x-amz-acl", "private"),))
    headers = sign_headers(unsigned, keys, Scope("s3express", "us-east-1"), payload=UNSIGNED, at_s=1_440_938_160)
    request = AWSRequest("PUT", f"https://{PETS}/a%20b?x=1", headers=dict(headers))
    request.context.update(timestamp="20150830T123600Z")
    del request.headers["authorization"]
    signer = S3ExpressAuth(
        Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token),
        "s3express",
        "us-east-1",
        identity_cache={},
    )
    text = signer.string_to_sign(request, signer.canonical_request(request))
    assert dict(headers)["authorization"].endswith(f"Signature={signer.signature(text, request)}")
    assert dict(headers)["x-amz-s3session-token"] == keys.session_token
    assert urlsplit(request.url).hostname == PETS
