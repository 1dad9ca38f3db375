"""A coding agent logs in for itself: the reply is stored as its own grant, it gets stand-ins, refreshing is ours."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import pytest
import pytest_asyncio

from proxy.db.engine import DATABASE
from tests.answers.capturing import OTHER_PROFILE, reply
from tests.rig.sidecar import running_rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
API, LOGIN, OTHER = "api.coder.test", "login.coder.test", "other.example.test"
CODER = """\
schema: 1
name: coder
title: Coder
docs: https://coder.test/
checked: "2026-11-25"
hosts: [{{host: api.coder.test, port: {port}}}, {{host: login.coder.test, port: {port}}}]
secrets:
  access_token: {{minted: true, stand_in: {{template: "at-{{base62:32}}"}}}}
  refresh_token: {{minted: true, stand_in: {{template: "rt-{{base62:32}}"}}}}
  id_token: {{minted: true, stand_in: {{template: "id-{{base62:32}}"}}}}
credentials:
  login:
    kind: oauth
    grant: authorization_code
    token_endpoint: "https://login.coder.test:{port}/oauth/token"
    client: {{auth: none, id: coder-cli}}
    format: json
    refresh: {{margin_s: 0, jitter_s: 0}}
operations:
  - {{id: any, methods: [GET, POST], path: "/v1/**", hosts: [api.coder.test], action: write}}
  - id: login.token
    methods: [POST]
    path: /oauth/token
    hosts: [login.coder.test]
    action: write
    anonymous: true
    answer: {{kind: oauth_token, grants: [refresh_token], refresh_token: refresh_token, otherwise: forward}}
    capture:
      secrets: {{/access_token: access_token, /refresh_token: refresh_token, /id_token: id_token}}
      optional: [/id_token]
      unless: /error
      grant: login
"""
RIG = {
    "profiles": {"coder": CODER, "other": OTHER_PROFILE},
    "settings": {
        "providers": {
            "coder": {"accounts": {"main": {"credentials": ["login"]}}},
            "other": {"accounts": {"main": {"secrets": {"token": "env:OTHER_TOKEN"}}}},
        }
    },
    "agents": {"tester": ("*",), "rival": ("*",)},
    "hosts": (API, LOGIN, OTHER),
}


@dataclass
class Issuer:
    """A token endpoint that rotates refresh tokens and takes each once. `life_s` is of the next access tokens."""

    life_s: int = 3600
    names: tuple[str, ...] = ("access_token", "refresh_token", "id_token")
    valid: set[str] = field(default_factory=set)
    issued: list[str] = field(default_factory=list)
    calls: list[dict] = field(default_factory=list)
    numbers: itertools.count = field(default_factory=itertools.count)

    async def __call__(self, seen, _reader, writer):
        text = seen.body.decode()
        asked = json.loads(text) if text.startswith("{") else dict(parse_qsl(text))
        self.calls.append(asked)
        code_ok = asked.get("grant_type") == "authorization_code" and asked.get("code", "").startswith("code-")
        refresh_ok = asked.get("grant_type") == "refresh_token" and asked.get("refresh_token") in self.valid
        if not (code_ok or refresh_ok):
            writer.write(reply({"error": "invalid_grant"}, status="400 Bad Request"))
            return
        self.valid.discard(asked.get("refresh_token", ""))
        number = next(self.numbers)
        made = {name: f"{name}-REAL-{number}-abcdefghijklmnop" for name in self.names}
        self.valid.add(made["refresh_token"])
        self.issued += made.values()
        extra = {"token_type": "bearer", "expires_in": self.life_s, "scope": "code", "account": {"email": "a@b.test"}}
        writer.write(
            reply({**made, **extra}, coding="gzip" if "gzip" in (seen.one("accept-encoding") or "") else "identity")
        )


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rig(tmp_path_factory):
    async with running_rig(tmp_path_factory.mktemp("login"), **RIG) as running:
        yield running


@pytest.fixture
def issuer(rig):
    rig.provider.handlers["/oauth/token"] = issuer = Issuer()
    return issuer


def url(rig, host, path):
    return f"https://{host}:{rig.provider.port}{path}"


async def log_in(rig, agent="tester", **more):
    code = {
        "grant_type": "authorization_code",
        "code": "code-1",
        "client_id": "coder-cli",
        "code_verifier": "v",
        **more,
    }
    return await rig.call("POST", url(rig, LOGIN, "/oauth/token"), json=code, agent=agent)


async def used(rig, token, agent="tester"):
    return await rig.call("GET", url(rig, API, "/v1/x"), headers={"Authorization": f"Bearer {token}"}, agent=agent)


def held(rig, slot, agent="tester"):
    return rig.stand_in("coder", slot, agent=agent)


def granted(rig):
    with sqlite3.connect(rig.home / DATABASE) as database:
        return set(database.execute("SELECT account, credential, agent FROM grants WHERE sealed IS NOT NULL"))


async def test_p1_a_login_is_captured_presented_and_refreshed_by_us(rig, issuer):
    assert (await used(rig, held(rig, "access_token"))).problem == "not_connected"
    issuer.life_s = 12  # ends within the time that is taken off for clocks, so a request refreshes it
    answer = await log_in(rig)
    assert answer.json() == {
        **{name: held(rig, name) for name in ("access_token", "refresh_token", "id_token")},
        "token_type": "bearer",
        "expires_in": 12,
        "scope": "code",
        "account": {"email": "a@b.test"},
    }
    assert granted(rig) == {("coder/main", "login", "tester")}
    call = next(c for c in await rig.settled(1) if c.decision["id"] == answer.headers["briefcased-receipt"])
    assert call.outcome["captured"] == "access_token,refresh_token,id_token"
    assert call.decision["answered"] is None
    first, *_ = issuer.issued
    for _ in range(2):
        seen = await used(rig, answer.json()["access_token"])
        assert seen.status == 200
        for secret in issuer.issued:
            assert secret.encode() not in seen.body
    assert rig.provider.last.one("authorization") == f"Bearer {issuer.issued[-3]}"
    # The agent's own refresh: answered here, the provider hears nothing of it.
    calls = len(issuer.calls)
    own = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"], "client_id": "coder-cli"}
    refreshed = await rig.call("POST", url(rig, LOGIN, "/oauth/token"), json=own)
    assert refreshed.json()["access_token"] == held(rig, "access_token")
    assert refreshed.json()["refresh_token"] == held(rig, "refresh_token")
    assert len(issuer.calls) == calls
    assert first.encode() not in refreshed.body


async def test_p1_a_token_that_ends_is_refreshed_at_the_provider_with_the_real_one(rig, issuer):
    issuer.life_s = 1
    token = (await log_in(rig)).json()["access_token"]
    issuer.life_s = 3600
    real_refresh = issuer.issued[1]

    await asyncio.sleep(1.1)
    assert (await used(rig, token)).status == 200
    assert issuer.calls[-1] == {"grant_type": "refresh_token", "refresh_token": real_refresh, "client_id": "coder-cli"}
    assert rig.provider.last.one("authorization") == f"Bearer {issuer.issued[3]}"


async def test_p6_a_login_is_its_own_agents(rig, issuer):
    token = (await log_in(rig)).json()["access_token"]
    assert (await used(rig, token, "rival")).problem == "credential_scope"
    assert (await used(rig, "x", "rival")).problem == "not_connected"
    there = await rig.call("GET", url(rig, OTHER, "/x"), headers={"X-Token": token})
    assert there.problem == "credential_scope"
    foreign = {"grant_type": "refresh_token", "refresh_token": held(rig, "refresh_token")}
    refused = await rig.call("POST", url(rig, LOGIN, "/oauth/token"), data=foreign, agent="rival")
    assert refused.problem == "credential_scope"
    mine = issuer.issued[0]
    theirs = (await log_in(rig, "rival")).json()["access_token"]
    assert theirs != token
    await used(rig, theirs, "rival")
    assert rig.provider.last.one("authorization") == f"Bearer {issuer.issued[3]}"
    await used(rig, token)
    assert rig.provider.last.one("authorization") == f"Bearer {mine}"


async def test_another_login_takes_the_place_of_the_first_at_once(rig, issuer):
    token = (await log_in(rig)).json()["access_token"]
    await used(rig, token)
    again = (await log_in(rig)).json()["access_token"]
    assert again == token
    await used(rig, token)
    assert rig.provider.last.one("authorization") == f"Bearer {issuer.issued[3]}"


async def test_a_refused_login_is_told_to_the_agent(rig, issuer):
    answer = await log_in(rig, code="wrong")
    assert (answer.status, answer.json()) == (400, {"error": "invalid_grant"})
    rig.provider.answers("/oauth/token", reply({"error": "authorization_pending"}))
    assert (await log_in(rig)).json() == {"error": "authorization_pending"}
    rig.provider.answers("/oauth/token", reply({"access_token": "at-REAL-without-a-refresh-token"}))
    answer = await log_in(rig)
    assert answer.problem == "response_withheld"
    assert b"REAL" not in answer.body


@pytest.mark.slow
async def test_p1_p6_after_a_restart_the_login_serves_and_answers_are_searched_for_it(tmp_path):
    issuer = Issuer()
    async with running_rig(tmp_path, **RIG) as first:
        first.provider.handlers["/oauth/token"] = issuer
        token = (await log_in(first)).json()["access_token"]
    port = first.provider.port
    first.provider.port = port
    await first.provider.start()
    try:
        async with running_rig(tmp_path, **RIG, provider=first.provider) as second:
            second.provider.answers("/v1/echo", reply({"all": issuer.issued}))
            seen = await second.call("GET", url(second, API, "/v1/echo"), agent="tester")
            assert not any(secret.encode() in seen.body for secret in issuer.issued[:2])
            assert second.provider.last.one("authorization") == f"Bearer {issuer.issued[0]}"
            assert (await used(second, token, "rival")).problem == "credential_scope"
            assert (await used(second, "x", "rival")).problem == "not_connected"
            for path in second.home.rglob("*"):
                if path.is_file():
                    assert not any(secret.encode() in path.read_bytes() for secret in issuer.issued), path
    finally:
        await first.provider.stop()


async def test_p1_logins_of_one_agent_do_not_make_us_forget_the_token_of_another(rig, issuer):
    await log_in(rig, "rival")
    real = issuer.issued[0]
    await used(rig, held(rig, "access_token", "rival"), "rival")
    async with rig.client() as client:
        for _ in range(17):  # more than the old values that are kept of one secret
            await client.post(
                url(rig, LOGIN, "/oauth/token"), json={"grant_type": "authorization_code", "code": "code-2"}
            )

    async def quotes_its_token(seen, _reader, writer):
        writer.write(reply({"you sent": seen.one("authorization")}))

    rig.provider.handlers["/v1/x"] = quotes_its_token
    answer = await used(rig, held(rig, "access_token", "rival"), "rival")
    assert answer.status == 200
    assert real not in answer.body.decode()
    assert held(rig, "access_token", "rival") in answer.body.decode()
