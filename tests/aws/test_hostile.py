"""What a review from the attacker's side found: how an agent could have had signed what is never signed, and the like."""

from __future__ import annotations

import gzip
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from proxy.aws import actions
from proxy.errors import Refused
from proxy.model import Authority, RequestHead
from tests.aws.conftest import OTHER_ID
from tests.aws.test_requests import stand_in, url
from tests.aws.test_streams import SIGNED, chunked, event

together = pytest.mark.asyncio(loop_scope="module")
S3, STS = "s3.us-east-1.amazonaws.com", "sts.us-east-1.amazonaws.com"
EVENTS = {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-EVENTS"}
FORM = "application/x-www-form-urlencoded"
ASKED = b"Action=AssumeRole&RoleArn=arn"
GZIP = [("content-encoding", "gzip")]
HIDDEN = [
    ([("x-amz-target", "A.GetCallerIdentity"), ("x-amz-target", "A.AssumeRole")], b"{}"),
    (GZIP, gzip.compress(ASKED)),
    ([("content-encoding", "amz-1.0"), ("content-type", f"{FORM}; charset=UTF-8")], ASKED),
    ([], b"action=assumeRole"),
    ([], b"%41CTION=%41ssumeRole"),
    ([], b"+Action=+AssumeRole+"),
    ([], b"a=b;Action=AssumeRole"),
]
UNREADABLE = [
    ([("content-encoding", "br")], b"whatever"),
    ([*GZIP, *GZIP], b"whatever"),
    (GZIP, gzip.compress(ASKED)[:-9]),
    (GZIP, gzip.compress(b"a=b&") + gzip.compress(ASKED)),
    (GZIP, gzip.compress(b"a" * actions.MAX_INFLATED_BYTES + ASKED, 1)),
    ([("content-type", f"{FORM}; charset=utf-16le")], ASKED.decode().encode("utf-16le")),
    ([("content-type", f'{FORM}; Charset="ibm037"')], ASKED.decode().encode("cp037")),
]


def head(headers):
    return RequestHead("POST", "https", Authority(STS, 443), "/", ("",), None, tuple(headers), has_body=True)


def test_p1_an_action_is_found_however_it_is_written():
    for headers, body in HIDDEN:
        assert "assumerole" in actions.asked(head(headers), body), body
    for headers, body in UNREADABLE:
        with pytest.raises(Refused) as refused:
            actions.asked(head(headers), body)
        assert refused.value.denial.slug == "invalid_request", headers
    assert actions.asked(head([]), b"Action=GetCallerIdentity") == {"getcalleridentity"}


def test_p1_an_action_may_be_a_path_and_of_one_service():
    entries = ("Roles", "deadline:/farms/*/read-roles")
    for service, path, refused in (
        ("deadline", "/farms/x/READ-roles", True), ("deadline", "/farms/x/read-roles/", True), ("deadline", "/farms/read-roles", False),
        ("deadline", "/farms/x/y/read-roles", False), ("lambda", "/farms/x/read-roles", False), ("lambda", "/x/roles", True),
        ("s3", "/pets/roles", False),
    ):  # fmt: skip
        one = replace(head([]), path=path, segments=tuple(path[1:].split("/")))
        assert actions.refuses(entries, service, one, None) is refused, path
    assert actions.refuses(("sts:AssumeRole",), "sts", head([]), ASKED)
    assert not actions.refuses((), "sts", head(GZIP), b"whatever")


@together
async def test_p1_hidden_actions_that_hand_out_credentials_are_not_signed(lasting):
    rig = lasting
    rig.provider.requests.clear()
    streamed = event(b"&" + ASKED) + event(b"")
    for headers, body in ((EVENTS, streamed), ({**EVENTS, "content-type": FORM}, ASKED), (HIDDEN[0][0], b"{}")):
        answer = await rig.call("POST", url(rig, STS), headers=headers, content=body)
        assert answer.problem == "operation_not_allowed", headers
    answer = await rig.call("POST", url(rig, STS), headers=dict(GZIP), content=UNREADABLE[2][1])
    assert answer.problem == "invalid_request"
    assert rig.provider.requests == []
    answer = await rig.call(
        "POST", url(rig, STS), headers=dict(GZIP), content=gzip.compress(b"Action=GetCallerIdentity")
    )
    assert (answer.status, rig.provider.verdicts.pop()) == (200, None)


def presigned(key_id="AKIANOBODYSKEYATALLS", **more):
    return urlencode({
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{key_id}/20261125/us-east-1/s3/aws4_request",
        "X-Amz-Date": "20261125T000000Z", "X-Amz-Expires": "604800", "X-Amz-SignedHeaders": "host", "X-Amz-Signature": "00", **more,
    })  # fmt: skip


@together
async def test_what_is_smuggled_beside_a_signature_is_gone(lasting):
    rig = lasting
    rig.provider.verdicts.clear()
    rig.provider.requests.clear()
    query = presigned() + "&" + presigned("AKIASOMEBODYELSEATAL", **{"X-Amz-Security-Token": "smuggled"})
    query += "&x-amz-s3session-token=smuggled&%58-amz-date=smuggled&X-Amz-Content-Sha256=smuggled"
    headers = [
        ("x-amz-security-token", "smuggled"), ("X-Amz-Security-Token", "smuggled"), ("x-amz-s3session-token", "smuggled"),
        ("x-amz-date", "smuggled"), ("x-amz-content-sha256", "smuggled"), ("x-amz-region-set", "smuggled"), ("date", "smuggled"),
        ("authorization", "AWS4-HMAC-SHA256 smuggled"), ("x-amz-meta-a", "1"), ("x-amz-meta-a", "2,  3   4"),
    ]  # fmt: skip
    answer = await rig.call("GET", url(rig, S3, f"/pets/k?{query}"), headers=headers)
    assert (answer.status, rig.provider.verdicts) == (200, [None])
    seen = rig.provider.last
    assert b"smuggled" not in seen.head
    assert (seen.head.count(b"X-Amz-Signature"), seen.head.count(b"X-Amz-Credential")) == (1, 1)
    assert b"X-Amz-Expires=300&" in seen.head
    two = f"/pets/k?{presigned(stand_in(rig).access_key)}&x={stand_in(rig, 'other').access_key}"
    assert (await rig.call("GET", url(rig, S3, two))).problem == "credential_scope"
    assert OTHER_ID.encode() not in seen.head


@together
async def test_odd_spellings_are_signed_as_the_server_reads_them(lasting):
    rig = lasting
    rig.provider.verdicts.clear()
    rig.provider.requests.clear()
    for query in (
        "b=2&a=1&b=1&a&A=0&a=&a%20=1&a+b=2&a-b=3&a=1&%C3%A4=1&&",
        "a;X-Amz-Signature=0&%2B=%2520&x==&=y",
    ):
        answer = await rig.call("GET", url(rig, S3, f"/pets/100%25/..k/%E4%BD%A0?{query}"))
        assert (answer.status, rig.provider.verdicts.pop()) == (200, None), query
    for value, verdict in (("käse  mit   brot", None), ("", None), ("a\tb", None)):
        given = [("x-amz-meta-n", value.encode()), ("content-type", f"text/plain; x={value}".strip().encode())]
        answer = await rig.call("PUT", url(rig, S3, "/pets/k"), headers=given, content=b"x")
        assert (answer.status, rig.provider.verdicts.pop()) == (200, verdict), value
    answer = await rig.call("PUT", url(rig, S3, "/pets/k"), headers=[("x-amz-meta-n", b"k\xe4se")], content=b"x")
    assert answer.problem == "invalid_request"
    answer = await rig.call("PUT", url(rig, S3, "/pets/k"), headers=[("x-note", b"k\xe4se")], content=b"x")
    assert (answer.status, rig.provider.verdicts) == (200, [None])  # not signed, so it may be anything


@together
async def test_bodies_that_would_arrive_as_something_else_are_refused(lasting):
    rig = lasting
    rig.provider.verdicts.clear()
    rig.provider.requests.clear()
    to = url(rig, S3, f"/pets/k?{presigned()}")
    for kind in (SIGNED, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"):
        answer = await rig.call("PUT", to, headers={"x-amz-content-sha256": kind}, content=chunked(b"miau"))
        assert answer.problem == "invalid_request"
    form = {"policy": "e30=", "x-amz-signature": "00", "x-amz-credential": stand_in(rig).access_key}
    answer = await rig.call("POST", url(rig, f"pets.{S3}"), data=form, files={"file": b"miau"})
    assert (answer.problem, "POST policy" in answer.json()["detail"]) == ("invalid_request", True)
    lambda_ = url(rig, "lambda.us-east-1.amazonaws.com", "/x")
    answer = await rig.call("POST", lambda_, headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, content=b"{}")
    assert (answer.status, rig.provider.verdicts) == (200, [None])
    assert "x-amz-content-sha256" not in dict(rig.provider.last.headers)  # hashed: unsigned bodies are for S3 only
