"""Roles: the session comes from STS, is kept while it serves, and signs; every way in which STS fails."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest

from tests.aws.conftest import HOSTS, KEY, KEY_ID, PROFILE, Aws, Everywhere, escaped
from tests.fakes.sts import ERROR, SESSION, Sts, http
from tests.rig.sidecar import running_rig

ADMIN, READER, POD = (f"arn:aws:iam::123456789012:role/{name}" for name in ("admin", "reader", "pod"))
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]})
WEB_TOKEN = "eyJhbGciOiJSUzI1NiJ9.web-identity-token.signature"
KINDS = f"""\
credentials:
  role:
    kind: aws_role
    services: "{{{{services}}}}"
    regions: "{{{{regions}}}}"
    role_arn: "{{{{role_arn}}}}"
    external_id: "{{{{external_id}}}}"
    session_policy: '{POLICY.replace("{", "{{").replace("}", "}}")}'
    duration_s: 900
    sts_url: "https://sts.{{{{sts_region}}}}.amazonaws.com:@port@/"
  web: {{{{kind: aws_role, services: "*", regions: "*", role_arn: "{{{{role_arn}}}}", web_identity_token: web_token,
         sts_url: "https://sts.{{{{sts_region}}}}.amazonaws.com:@port@/"}}}}
  keys: """
S3 = "s3.us-east-1.amazonaws.com"


def settings():
    keys = {"access_key_id": "env:ID", "secret_access_key": "env:KEY"}
    return {
        "providers": {
            "aws": {
                "accounts": {
                    "admin": {
                        "secrets": keys,
                        "variables": {"role_arn": ADMIN, "external_id": "x-17"},
                        "default": True,
                    },
                    "reader": {"secrets": keys, "variables": {"role_arn": READER}},
                    "stranger": {"secrets": keys, "variables": {"role_arn": ADMIN}},
                    "pod": {"secrets": {"web_token": "env:TOKEN"}, "variables": {"role_arn": POD}},
                }
            }
        }
    }


@asynccontextmanager
async def running(tmp_path, **environment):
    provider = Aws(tmp_path, HOSTS)
    await provider.start()
    sts = Sts(provider.verifier, {ADMIN: "x-17", READER: None, POD: None}, web_tokens={WEB_TOKEN})
    provider.verifier.keys = {KEY_ID: KEY}
    calls = provider.handlers.handler

    async def answer(seen, reader, writer):
        if seen.host.startswith("sts."):
            writer.write(sts.answer(seen))
        else:
            await calls(seen, reader, writer)

    provider.handlers = Everywhere(answer)
    text = PROFILE.replace("credentials:\n  keys: ", KINDS).replace(
        "variables:\n", "variables:\n  role_arn: {{pattern: '[ -~]+'}}\n  external_id: {{}}\n"
    )
    text = text.replace("secrets:\n", "secrets:\n  web_token: {{env: [T], stand_in: {{length: 40}}}}\n")
    text = escaped(text.format(hosts="\n".join(f"  - {{host: {host}, port: @port@}}" for host in HOSTS)))
    try:
        async with running_rig(
            tmp_path, profiles={"aws": text}, settings=settings(), hosts=HOSTS, provider=provider,
            environment={"ID": KEY_ID, "KEY": KEY, "TOKEN": WEB_TOKEN, **environment}, agents={"tester": ("*",), "second": ("*",)},
        ) as rig:  # fmt: skip
            yield rig, sts
    finally:
        await provider.stop()


@pytest.fixture
async def roles(tmp_path):
    async with running(tmp_path) as found:
        yield found


async def get(rig, account, agent="tester"):
    key_id = rig.stand_in("aws", "access_key_id", account, agent)
    given = f"AWS4-HMAC-SHA256 Credential={key_id}/20130524/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00"
    return await rig.call(
        "GET", f"https://{S3}:{rig.provider.port}/pets", headers={"authorization": given}, agent=agent
    )


async def test_the_stand_in_key_id_chooses_the_role_and_its_session_is_kept(roles):
    rig, sts = roles
    for account in ("admin", "reader", "admin", "pod", "reader", "pod"):
        answer = await get(rig, account)
        assert (answer.status, rig.provider.verdicts[-1]) == (200, None), account
    asked = {form["RoleArn"]: form for form in sts.asked}
    assert len(sts.asked) == len(asked) == 3
    assert asked[ADMIN]["ExternalId"] == "x-17"
    assert "ExternalId" not in asked[READER]
    assert (asked[ADMIN]["Policy"], asked[ADMIN]["DurationSeconds"]) == (POLICY, "900")
    assert asked[ADMIN]["RoleSessionName"] == "briefcased-tester"
    assert asked[POD]["Action"] == "AssumeRoleWithWebIdentity"
    await get(rig, "admin", agent="second")  # a session is one agent's
    assert sts.asked[-1]["RoleSessionName"] == "briefcased-second"
    assert rig.provider.last.one("x-amz-security-token") in rig.provider.verifier.tokens.values()
    theirs = rig.stand_in("aws", "access_key_id", "admin", "second")
    answer = await rig.call(
        "GET",
        f"https://{S3}:{rig.provider.port}/pets",
        headers={"authorization": f"AWS4-HMAC-SHA256 Credential={theirs}/x"},
    )
    assert answer.problem == "credential_scope"  # P6: another agent's stand-in chooses nothing
    calls = [c for c in await rig.settled(8) if c.decision["decision"] == "allow"]
    assert {c.decision["credential_kind"] for c in calls} == {"aws_role"}
    assert len({c.decision["credential_token"] for c in calls}) == 4


async def test_p1_neither_keys_nor_sessions_reach_the_agent(roles):
    rig, sts = roles
    texts = []
    for account in ("admin", "pod"):
        answer = await get(rig, account)  # the provider sends back every header that it got
        texts.append(str(answer.headers).encode() + answer.body)
    texts.append(repr([c.decision for c in await rig.settled(2)]).encode())
    verifier = rig.provider.verifier
    for canary in (KEY_ID, KEY, WEB_TOKEN, *verifier.keys, *verifier.keys.values(), *verifier.tokens.values()):
        assert canary.encode() not in b"".join(texts)
    assert len(verifier.tokens) == 2


async def test_what_sts_refuses(roles, caplog):
    rig, sts = roles
    answer = await get(rig, "stranger")  # without its external id
    assert (answer.problem, answer.status) == ("credential_unavailable", 502)
    assert "LEAKED" not in answer.body.decode() + caplog.text
    sts.web_tokens.clear()
    assert (await get(rig, "pod")).problem == "credential_revoked"
    rig.provider.verifier.keys.clear()
    assert (await get(rig, "admin")).problem == "credential_revoked"
    asked = len(sts.asked)
    assert (await get(rig, "admin")).problem == "credential_revoked"
    assert len(sts.asked) == asked  # backed off
    assert {c.decision["decision"] for c in await rig.settled(4)} == {"deny"}


VALID = {"key_id": "ASIAABCDEFGHIJKLMNOP", "key": "k" * 40, "token": "t" * 100, "ends": "2026-01-01T00:00:00Z"}
BAD = [
    http(429, ERROR.format(code="Throttling", message=""), "Retry-After: 3"),
    http(503, "", "Retry-After: 99999999999999999999"),
    http(200, "<garbage"),
    http(200, "\0\xff" * 1000),
    http(200, SESSION.format(**VALID)),  # ended long ago
    http(200, SESSION.format(**{**VALID, "ends": "9999-12-31T23:59:59Z"})),
    http(200, SESSION.format(**{**VALID, "ends": "2026-99-99T99:99:99Z"})),
    http(200, SESSION.format(**{**VALID, "key": "k\r\nx: y" + "k" * 40})),
    http(200, SESSION.format(**VALID) * 2),
    http(200, "x" * 300_000),
    http(500, ERROR.format(code="InternalFailure", message="")),
    http(302, "", "Location: https://elsewhere.test/"),
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
    b"nonsense\r\n\r\n",
]


@pytest.mark.parametrize("bad", [BAD[:3], pytest.param(BAD[3:], marks=pytest.mark.slow)])
async def test_answers_that_are_none(roles, bad):
    rig, sts = roles
    for raw in bad:
        sts.raw = raw
        rig.sidecar.pipeline._broker._failures.clear()  # as if the time to back off had passed
        answer = await get(rig, "admin")
        assert (answer.problem, answer.status) == ("token_endpoint_error", 502), raw[:80]
    assert all(seen.host.startswith("sts.") for seen in rig.provider.requests)


async def test_a_session_that_ends_is_renewed(roles):
    rig, sts = roles
    sts.lasts_s = 62  # two seconds beyond the margin: its time to be renewed has come at once
    await get(rig, "reader")
    await get(rig, "reader")
    await get(rig, "reader")
    assert set(rig.provider.verdicts) <= {None}
    assert len(sts.asked) >= 2


async def test_a_session_that_aws_has_ended_is_not_used_again(roles):
    rig, sts = roles
    await get(rig, "reader")
    inner = rig.provider.handlers.handler

    async def ended(seen, reader, writer):
        if seen.host.startswith("sts."):
            await inner(seen, reader, writer)
        else:
            writer.write(http(403, "", "x-amzn-errortype: ExpiredTokenException:http://internal.amazon.com/"))

    rig.provider.handlers.handler = ended
    await get(rig, "reader")
    rig.provider.handlers.handler = inner
    await get(rig, "reader")
    assert len(sts.asked) == 2
    assert rig.provider.verdicts == [None, None]
