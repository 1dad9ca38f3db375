"""Local answers: an allowed call that is answered here, with stand-ins, and never dialled."""

from __future__ import annotations

import asyncio
import base64
import json
import xml.etree.ElementTree as ET

import pytest

from tests.answers.conftest import API, JWT_BEARER, KEY, SECOND, TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="module")
CLIENT = {"grant_type": "client_credentials", "client_id": "app", "scope": "read"}


def token_url(rig):
    return f"https://{TOKEN}:{rig.provider.port}/oauth/token"


def held(rig, slot, account="main", agent="tester"):
    return rig.stand_in("widgets", slot, account, agent)


async def last(rig, count=1):
    return (await rig.settled(count))[-1]


def assertion(claims):
    parts = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in ({"alg": "none"}, claims)]
    return ".".join([*parts, "c2ln"])


@pytest.mark.parametrize("http2", [False, True])
async def test_p3_a_token_call_is_answered_without_a_dial(rig, http2):
    before = len(rig.provider.requests), rig.provider.connections
    answer = await rig.call("POST", token_url(rig), data=CLIENT, http2=http2)
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.json() == {
        "access_token": held(rig, "access_token"),
        "refresh_token": held(rig, "refresh_token"),
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "read",
    }
    assert (len(rig.provider.requests), rig.provider.connections) == before
    call = await last(rig)
    assert answer.headers["briefcased-receipt"] == call.decision["id"]
    wanted = {
        "decision": "allow",
        "operation": "token",
        "account": "widgets/main",
        "answered": "oauth_token",
        "credential": None,
    }
    assert {name: call.decision[name] for name in wanted} == wanted
    assert call.outcome is not None
    assert (call.outcome["outcome"], call.outcome["status"], call.outcome["address"]) == ("completed", 200, None)
    assert call.outcome["response_bytes"] == len(answer.body)


async def test_the_answer_leaves_its_connection_usable(rig):
    async with rig.client() as client:
        for _ in range(3):
            assert (await client.post(token_url(rig), json=CLIENT)).status_code == 200
        reply = await client.get(f"https://{API}:{rig.provider.port}/v1/x", headers={"Authorization": "Bearer x"})
    assert reply.status_code == 200
    assert rig.provider.last.one("authorization") == f"Bearer {KEY}"


async def test_p1_the_token_is_a_stand_in_that_is_swapped_at_the_provider(rig):
    token = (await rig.call("POST", token_url(rig), data=CLIENT)).json()["access_token"]
    answer = await rig.call(
        "GET", f"https://{API}:{rig.provider.port}/v1/x", headers={"Authorization": f"Bearer {token}"}
    )
    assert rig.provider.last.one("authorization") == f"Bearer {KEY}"
    assert KEY.encode() not in answer.body


async def test_a_stand_in_in_the_form_names_the_account(rig):
    given = {**CLIENT, "client_secret": held(rig, "client_secret", "second")}
    token = (await rig.call("POST", token_url(rig), data=given)).json()["access_token"]
    assert token == held(rig, "access_token", "second")
    await rig.call("GET", f"https://{API}:{rig.provider.port}/v1/x", headers={"Authorization": f"Bearer {token}"})
    assert rig.provider.last.one("authorization") == f"Bearer {SECOND}"


async def test_a_refresh_token_is_the_one_that_was_given(rig):
    given = {"grant_type": "refresh_token", "refresh_token": held(rig, "refresh_token", "second")}
    answer = await rig.call("POST", token_url(rig), json=given)
    assert answer.json()["access_token"] == held(rig, "access_token", "second")
    for wrong in ("x", held(rig, "access_token"), ""):
        answer = await rig.call("POST", token_url(rig), data={**given, "refresh_token": wrong})
        assert (answer.status, answer.json()) == (400, {"error": "invalid_grant"})


async def test_an_assertion_chooses_the_account_by_its_issuer(rig):
    given = {"grant_type": JWT_BEARER, "assertion": assertion({"iss": "second@widgets.test"})}
    answer = await rig.call("POST", token_url(rig), data=given)
    assert answer.json()["access_token"] == held(rig, "access_token", "second")
    for claims in ({"iss": "who@widgets.test"}, {}, {"iss": 7}, []):
        answer = await rig.call("POST", token_url(rig), data={**given, "assertion": assertion(claims)})
        assert answer.status == 400


async def test_p6_a_stand_in_of_another_agent_is_refused(rig):
    foreign = held(rig, "refresh_token", "second", "tester")
    given = {"grant_type": "refresh_token", "refresh_token": foreign}
    answer = await rig.call("POST", token_url(rig), data=given, agent="other")
    assert answer.problem == "credential_scope"
    answer = await rig.call("POST", token_url(rig), data=CLIENT, agent="none")
    assert answer.problem == "policy_denied"
    answer = await rig.call("POST", token_url(rig), data=CLIENT, agent="other")
    assert answer.json()["access_token"] == held(rig, "access_token", "second", "other") != foreign


@pytest.mark.parametrize(
    ("body", "kind", "problem"),
    [
        (b"\xff=1", "application/x-www-form-urlencoded", "invalid_request"),
        (b"[1]", "application/json", "invalid_request"),
        (b"{", "application/json", "invalid_request"),
        (b"grant_type=password", "application/x-www-form-urlencoded", "operation_not_allowed"),
        (b"grant_type=refresh_token", "text/plain", "operation_not_allowed"),
        (b"", "application/json", "operation_not_allowed"),
        (b"a=" + b"x" * 70_000, "application/x-www-form-urlencoded", "request_too_large"),
        (b"&".join(b"a=1" for _ in range(300)), "application/x-www-form-urlencoded", "invalid_request"),
    ],
)
async def test_p5_what_cannot_be_read_is_refused_and_never_sent(rig, body, kind, problem):
    before = len(rig.provider.requests)
    answer = await rig.call("POST", token_url(rig), content=body, headers={"Content-Type": kind})
    assert answer.problem == problem
    assert len(rig.provider.requests) == before


async def test_sts_hands_out_stand_ins_and_lets_other_actions_through(rig):
    url = f"https://{TOKEN}:{rig.provider.port}/"
    given = {"Action": "AssumeRole", "RoleArn": "arn:aws:iam::111122223333:role/second", "RoleSessionName": "s<&"}
    answer = await rig.call("POST", url, data=given)
    space = "{https://sts.amazonaws.com/doc/2011-06-15/}"
    found = {e.tag.removeprefix(space): e.text for e in ET.fromstring(answer.body).iter()}
    assert found["AccessKeyId"] == held(rig, "access_key_id", "second")
    assert found["SessionToken"] == held(rig, "session_token", "second")
    assert found["Arn"] == "arn:aws:sts::111122223333:assumed-role/second/s<&"
    refused = await rig.call("POST", url, data={**given, "RoleArn": "arn:aws:iam::1:role/admin"})
    assert refused.status == 403
    assert b"<Code>AccessDenied</Code>" in refused.body
    passed = await rig.call("POST", url, data={"Action": "GetCallerIdentity", "Version": "2011-06-15"})
    assert passed.status == 200
    assert rig.provider.last.body == b"Action=GetCallerIdentity&Version=2011-06-15"
    assert rig.provider.last.one("authorization") == f"Bearer {KEY}"
    assert (await last(rig)).decision["answered"] is None


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("query", "body", "kind"),
    [
        ("Action=GetCallerIdentity", "Action=AssumeRole", FORM),
        ("Action=GetCallerIdentity", "Action=AssumeRole", "text/plain"),
        ("Action=GetCallerIdentity", "Action=AssumeRole", ""),
        ("Action=GetCallerIdentity;Action=AssumeRole", "", FORM),
        ("", "Action=GetCallerIdentity&Action=AssumeRole", FORM),
        ("", "Action=GetCallerIdentity&action=AssumeRole", FORM),
        ("", "Action=GetCallerIdentity&%41ction=AssumeRole", FORM),
        ("", "Action=GetFederationToken&Name=me", FORM),
        ("", "Action=AssumeRoot", FORM),
        ("", "Action=assumeRole", FORM),
        ("", "Version=2011-06-15", FORM),
        ("", "", FORM),
    ],
)
async def test_p1_no_call_that_may_bring_real_credentials_passes_by_the_answer(rig, query, body, kind):
    before = len(rig.provider.requests)
    url = f"https://{TOKEN}:{rig.provider.port}/?{query}"
    answer = await rig.call("POST", url, content=body.encode(), headers={"Content-Type": kind} if kind else {})
    assert answer.problem in ("invalid_request", "operation_not_allowed")
    assert len(rig.provider.requests) == before


async def test_p2_a_metadata_service_is_answered_over_plain_http_and_never_dialled(rig):
    url = "http://169.254.169.254/latest"
    answer = await rig.call("PUT", f"{url}/api/token", headers={"X-aws-ec2-metadata-token-ttl-seconds": "21600"})
    assert (answer.status, answer.headers["x-aws-ec2-metadata-token-ttl-seconds"]) == (200, "21600")
    token = {"X-aws-ec2-metadata-token": answer.body.decode()}
    role = (await rig.call("GET", f"{url}/meta-data/iam/security-credentials/", headers=token)).body.decode()
    answer = await rig.call("GET", f"{url}/meta-data/iam/security-credentials/{role}", headers=token)
    assert answer.json()["SecretAccessKey"] == held(rig, "secret_access_key")
    assert (await last(rig)).outcome["address"] is None
    assert (
        await rig.call("GET", f"{url}/meta-data/iam/security-credentials/{role}")
    ).problem == "operation_not_allowed"
    assert (await rig.call("GET", f"{url}/user-data", headers=token)).problem == "operation_not_allowed"
    reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
    writer.write(f"CONNECT 169.254.169.254:80 HTTP/1.1\r\n{rig.credentials()}\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 403 ")
    writer.close()


async def test_p4_an_agent_that_leaves_before_its_answer_has_both_receipts(rig):
    reader, writer = await rig.tls(TOKEN)
    count = len(await rig.receipts())
    body = b"grant_type=client_credentials"
    writer.write(
        f"POST /oauth/token HTTP/1.1\r\nHost: {TOKEN}:{rig.provider.port}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\n".encode()
        + body
    )
    await writer.drain()
    writer.transport.abort()
    async with asyncio.timeout(5):
        while len(calls := await rig.settled(count)) == count:
            await asyncio.sleep(0.02)
    assert calls[-1].decision["answered"] == "oauth_token"
    assert calls[-1].outcome["outcome"] in ("client_aborted", "completed")
    del reader


async def test_p5_no_answer_without_a_receipt(rig, monkeypatch):
    from proxy.errors import Denial, Refused

    async def fail(_fields):
        raise Refused(Denial("receipt_unavailable", "No receipt can be written.", by="receipts"))

    monkeypatch.setattr(rig.sidecar.receipts, "record_decision", fail)
    answer = await rig.call("POST", token_url(rig), data=CLIENT)
    assert answer.problem == "receipt_unavailable"
    assert b"wat-" not in answer.body
