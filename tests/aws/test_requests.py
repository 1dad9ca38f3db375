"""Agent -> sidecar -> a server that verifies: whatever the agent signed with, what arrives is signed by the account."""

from __future__ import annotations

import datetime as dt

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.aws.conftest import KEY, KEY_ID, OTHER, OTHER_ID

FAKE = Credentials("AKIANOBODYSKEYATALLS", "whatever-the-agent-has-for-a-secret-key!!")


def stand_in(rig, account="main"):
    return Credentials(
        rig.stand_in("aws", "access_key_id", account), rig.stand_in("aws", "secret_access_key", account), "tok"
    )


def signed(rig, method, url, credentials, service, region="us-east-1", *, body=b"", headers=None, query=False):
    request = AWSRequest(method, url, headers=headers or {}, data=b"" if query else body)
    if query:
        (S3SigV4QueryAuth if service == "s3" else SigV4QueryAuth)(credentials, service, region, expires=60).add_auth(
            request
        )
    else:
        (S3SigV4Auth if service == "s3" else SigV4Auth)(credentials, service, region).add_auth(request)
    return request.url, dict(request.headers)


def url(rig, host, rest="/"):
    return f"https://{host}:{rig.provider.port}{rest}"


async def send(
    rig, method, host, rest, service, *, credentials=FAKE, region="us-east-1", query=False, body=b"", headers=None
):
    target, fields = signed(
        rig, method, url(rig, host, rest), credentials, service, region, body=body, headers=headers, query=query
    )
    return await rig.call(method, target, headers=fields, content=body)


CALLS = [
    ("POST", "dynamodb.us-east-1.amazonaws.com", "/", "dynamodb", b'{"TableName": "pets"}'),
    ("GET", "lambda.us-east-1.amazonaws.com", "/2015-03-31/functions/a%3Ab/policy?Qualifier=%24LATEST&Empty=", "lambda", b""),
    ("POST", "bedrock-runtime.us-east-1.amazonaws.com", "/model/anthropic.claude-v2%3A1/converse", "bedrock", b"{}"),
    ("POST", "bedrock-runtime.us-east-1.amazonaws.com", "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aprofile%2Fx/invoke", "bedrock", b"{}"),
    ("GET", "iam.amazonaws.com", "/?Action=ListUsers&Version=2010-05-08", "iam", b""),
    ("GET", "s3.us-east-1.amazonaws.com", "/pets/a%20b/%28c%29+d%3De?list-type=2&prefix=a%2Fb", "s3", b""),
    ("PUT", "pets.s3.us-east-1.amazonaws.com", "/k%C3%A4tzchen~1.txt", "s3", b"miau"),
]  # fmt: skip


@pytest.mark.parametrize("query", [True, pytest.param(False, marks=pytest.mark.slow)])
async def test_a_signature_of_the_agents_is_replaced(rig, query):
    for method, host, rest, service, body in CALLS:
        answer = await send(rig, method, host, rest, service, body=body, query=query)
        assert (rig.provider.verdicts.pop(), answer.status) == (None, 200), rest
        seen = rig.provider.last
        assert seen.body == body
        assert FAKE.access_key not in seen.head.decode("latin-1")
        assert KEY_ID in seen.head.decode("latin-1")
        assert KEY_ID not in answer.body.decode()
    for call in await rig.settled(len(CALLS)):
        assert (call.decision["account"], call.decision["credential_kind"]) == ("aws/main", "aws")
        assert len(call.decision["credential_token"]) == 24


async def test_the_stand_in_key_id_says_which_account(rig):
    for query in (False, True):
        await send(
            rig, "GET", "s3.us-east-1.amazonaws.com", "/pets", "s3", credentials=stand_in(rig, "other"), query=query
        )
        assert rig.provider.verdicts.pop() is None
        assert OTHER_ID in rig.provider.last.head.decode()
        assert rig.stand_in("aws", "access_key_id", "other") not in rig.provider.last.head.decode()


async def test_raw_spellings_are_signed_as_aws_reads_them(rig):
    answer = await rig.call(
        "GET", url(rig, "s3.us-east-1.amazonaws.com", "/pets/a(b)+c=d:e@f!g*h?prefix=a/b c+d:e&acl&x=%7E")
    )
    assert answer.status == 200
    assert rig.provider.verdicts == [None]


async def test_an_agent_need_not_sign(rig):
    answer = await rig.call("POST", url(rig, "dynamodb.eu-west-1.amazonaws.com"), content=b"{}")
    assert answer.status == 200
    assert rig.provider.verdicts == [None]
    assert "/eu-west-1/dynamodb/aws4_request" in rig.provider.last.one("authorization")


async def test_an_old_presigned_url_is_signed_by_version_4(rig):
    old = f"/pets/x?AWSAccessKeyId={stand_in(rig, 'other').access_key}&Signature=abc%3D&Expires=1999999999&versionId=7"
    answer = await rig.call("GET", url(rig, "s3.us-east-1.amazonaws.com", old))
    assert answer.status == 200
    assert OTHER_ID in rig.provider.last.target
    assert "AWSAccessKeyId" not in rig.provider.last.target
    assert "versionId=7" in rig.provider.last.target


OUTSIDE = [
    ("dynamodb.us-east-1.amazonaws.com", "s3", "us-east-1", "main"),  # the host is another service's
    ("dynamodb.us-east-1.amazonaws.com", "dynamodb", "eu-west-1", "main"),  # the host is in another region
    ("lambda.us-east-1.amazonaws.com", "lambda", "us-east-1", "other"),  # the account's services
    ("dynamodb.eu-west-1.amazonaws.com", "dynamodb", "eu-west-1", "other"),  # the account's regions
    ("pets.mrap.accesspoint.s3-global.amazonaws.com", "s3", "us-east-1", "main"),  # SigV4A only
]


async def test_m15_outside_the_scope_nothing_is_signed(rig):
    for host, service, region, account in OUTSIDE:
        for query in (False, True):
            keys = stand_in(rig, account)
            answer = await send(rig, "GET", host, "/x", service, region=region, credentials=keys, query=query)
            assert answer.problem == "credential_scope", (host, query)
    assert rig.provider.requests == []


async def test_unsigned_requests_are_held_to_the_accounts_limits_too(rig):
    answer = await rig.call(
        "GET", url(rig, "lambda.us-east-1.amazonaws.com", "/x"), headers={"x-note": stand_in(rig, "other").access_key}
    )
    assert answer.problem == "credential_scope"


HAND_OUTS = [
    {"content": b"Action=AssumeRole&RoleArn=arn"}, {"content": b"X=1;%41ction=AssumeRole"}, {"params": {"Action": "AssumeRole"}},
    {"headers": {"X-Amz-Target": "AWSSecurityTokenServiceV20110615.AssumeRole"}},
    {"content": b"Action=GetCallerIdentity&Action=AssumeRole"},
]  # fmt: skip


async def test_p1_actions_that_hand_out_credentials_are_not_signed(rig):
    for given in HAND_OUTS:
        answer = await rig.call("POST", url(rig, "sts.us-east-1.amazonaws.com"), **given)
        assert answer.problem == "operation_not_allowed", given
    assert rig.provider.requests == []


async def test_a_body_that_has_to_be_hashed_has_a_ceiling(rig):
    answer = await rig.call("POST", url(rig, "lambda.us-east-1.amazonaws.com", "/x"), content=b"x" * 1_048_577)
    assert answer.problem == "request_too_large"
    assert rig.provider.requests == []


async def test_s3_keys_have_no_encoded_slash(rig):
    answer = await rig.call("DELETE", url(rig, "s3.us-east-1.amazonaws.com", "/pets%2Fkitten"))
    assert answer.problem == "ambiguous_request"


async def test_the_clock_of_aws_is_learnt(rig):
    rig.provider.verifier.offset_s = 3600
    inner = rig.provider.handlers.handler

    async def dated(seen, reader, writer):
        class Dated:
            @staticmethod
            def write(data):
                at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=3600)
                writer.write(
                    data.replace(
                        b"Content-Type",
                        b"Date: " + at.strftime("%a, %d %b %Y %H:%M:%S GMT").encode() + b"\r\nContent-Type",
                    )
                )

        await inner(seen, reader, Dated)

    rig.provider.handlers.handler = dated
    for _ in range(3):
        await rig.call("POST", url(rig, "dynamodb.us-east-1.amazonaws.com"), content=b"{}")
    assert rig.provider.verdicts == ["RequestTimeTooSkewed", None, None]


async def test_p1_nothing_of_the_real_keys_reaches_the_agent(rig):
    seen = []
    for host, rest, service in (
        ("dynamodb.us-east-1.amazonaws.com", "/", "dynamodb"),
        ("s3.us-east-1.amazonaws.com", "/pets", "s3"),
    ):
        answer = await send(rig, "POST", host, rest, service)
        seen.append(str(answer.headers).encode() + answer.body)
    seen.append(repr([c.decision for c in await rig.settled(2)]).encode())
    for canary in (KEY_ID, KEY, OTHER_ID, OTHER):
        assert canary.encode() not in b"".join(seen)
    assert await rig.problems() == ()


@pytest.mark.parametrize("query", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_sigv4a_is_answered_with_sigv4a(rig, query):
    key_id, host = stand_in(rig).access_key, "pets.mrap.accesspoint.s3-global.amazonaws.com"
    scope = f"{key_id}/20130524/s3/aws4_request"
    given = {
        "authorization": f"AWS4-ECDSA-P256-SHA256 Credential={scope}, SignedHeaders=host, Signature=3045",
        "x-amz-region-set": "*",
    }
    asked = {
        "X-Amz-Algorithm": "AWS4-ECDSA-P256-SHA256",
        "X-Amz-Credential": scope,
        "X-Amz-Region-Set": "*",
        "X-Amz-Signature": "30",
        "a": "b",
    }
    answer = await rig.call("GET", url(rig, host, "/k"), **({"params": asked} if query else {"headers": given}))
    assert (rig.provider.verdicts, answer.status) == ([None], 200)
    narrow = stand_in(rig, "other").access_key
    given["authorization"] = given["authorization"].replace(key_id, narrow)
    answer = await rig.call("GET", url(rig, host, "/k"), headers=given)  # every region is more than us-*
    assert answer.problem == "credential_scope"
