"""Agent, sidecar, authorization server and API, all real: what leaves, what comes back, what is remembered."""

from __future__ import annotations

import asyncio
import base64
import time

import pytest
from jwskate import Jwk, SignedJwt

from proxy.keys import software
from tests.credentials.oauth.conftest import SECRET, oauth_rig


def assert_p1_nothing_shows(answer, server):
    for value in (*server.tokens, SECRET, *(f.current for f in server.families.values())):
        for form in (value.encode(), base64.b64encode(value.encode())):
            assert form not in answer.body
            assert form not in str(answer.headers).encode()
    assert b"IGNORE-THIS-TEXT" not in answer.body


async def test_p1_a_token_is_obtained_once_and_never_shown(tmp_path, server, caplog):
    async with oauth_rig(tmp_path, server, 'grant: client_credentials, scope: "read write"') as rig:
        for _ in range(2):
            answer = await rig.call("GET", "/me")
            assert answer.status == 200
            assert_p1_nothing_shows(answer, server)
        assert len(server.forms) == 1
        assert server.forms[0] == {"grant_type": ["client_credentials"], "scope": ["read write"]}
        assert server.seen[0].one("content-type") == "application/x-www-form-urlencoded"
        server.tokens.clear()  # the server has revoked it: a new one in the stream, unseen by the agent
        assert (await rig.call("GET", "/me")).status == 200
        assert len(server.forms) == 2
        server.tokens.clear()  # and again at once: nobody storms the token endpoint, the agent sees the 401 (M-17)
        for _ in range(3):
            answer = await rig.call("GET", "/me")
            assert answer.status == 401
        assert len(server.forms) == 2
        calls = await rig.settled(6)
        kinds = {(c.decision["credential_kind"], c.decision["account"]) for c in calls}
        hashes = {c.outcome.get("credential_token") or c.decision["credential_token"] for c in calls}
    assert kinds == {("oauth", "api/main")}
    assert all(len(found) == 24 for found in hashes)
    assert_p1_nothing_shows(answer, server)
    assert not any(token in caplog.text for token in server.tokens)


async def test_another_process_finds_what_was_kept(tmp_path, server, provider):
    fields = "grant: client_credentials"
    async with oauth_rig(tmp_path, server, fields, provider=provider) as rig:
        assert (await rig.call("GET", "/me")).status == 200
        before = await rig.receipts()
    async with oauth_rig(tmp_path, server, fields, provider=provider) as rig:
        assert (await rig.call("GET", "/me")).status == 200
        assert len(server.forms) == 1
        after = await rig.receipts()
    assert {c.decision["credential_token"] for c in before} == {c.decision["credential_token"] for c in after}
    async with oauth_rig(
        tmp_path, server, f"{fields}, scope: other", provider=provider
    ) as rig:  # something else was asked for (M-06)
        assert (await rig.call("GET", "/me")).status == 200
    assert len(server.forms) == 2


@pytest.mark.slow
async def test_a_refresh_token_of_the_secret_store_is_replaced_and_what_is_stored_counts(tmp_path, server, provider):
    first = server.login()
    given = {"environment": {"REFRESH_TOKEN": first}, "provider": provider}
    server.lifetime_s = 1
    async with oauth_rig(tmp_path, server, "grant: refresh_token", **given) as rig:
        for number in (1, 2):
            assert (await rig.call("GET", "/me")).status == 200
            assert server.families["main"].refreshes == number
            await asyncio.sleep(1.01)  # the token has ended
    async with oauth_rig(tmp_path, server, "grant: refresh_token", **given) as rig:
        assert (await rig.call("GET", "/me")).status == 200
        assert (server.families["main"].refreshes, server.families["main"].revoked) == (3, False)
        server.families["main"].revoked = True  # the user has withdrawn it
        await asyncio.sleep(1.01)
        assert (await rig.call("GET", "/me")).problem == "credential_revoked"
        asked = len(server.forms)
        assert (await rig.call("GET", "/me")).problem == "credential_revoked"
        assert len(server.forms) == asked
    async with oauth_rig(tmp_path, server, "grant: refresh_token", **given) as rig:  # broken also for the next process
        assert (await rig.call("GET", "/me")).problem == "credential_revoked"
        assert len(server.forms) == asked
    again = {
        "environment": {"REFRESH_TOKEN": server.login("second")},
        "provider": provider,
    }  # until the operator gives another one
    async with oauth_rig(tmp_path, server, "grant: refresh_token", **again) as rig:
        assert (await rig.call("GET", "/me")).status == 200


async def test_an_assertion_and_an_exchange_as_a_server_judges_them(tmp_path, server, provider):
    endpoint = f"https://auth.example.test:{provider.port}/token"
    used = set()

    def assertion(seen, form):
        if form["grant_type"] != ["urn:ietf:params:oauth:grant-type:jwt-bearer"]:
            return "unsupported_grant_type"
        read = SignedJwt(form["assertion"][0])
        now_s, claims = time.time(), read.claims
        good = read.verify_signature(public, alg="ES256") and (claims["iss"], claims["sub"]) == ("client one", "robot")
        good = (
            good and claims["aud"] == endpoint and now_s - 5 < claims["iat"] <= now_s + 5 < claims["exp"] < now_s + 305
        )
        fresh = claims["jti"] not in used
        used.add(claims["jti"])
        return None if good and fresh else "invalid_grant"

    signer = software.generate("ES256")
    public = Jwk(dict(signer.public.jwk))
    (tmp_path / "key.pem").write_bytes(signer.pem())
    fields, keys = "grant: jwt_bearer, assertion: {{subject: robot}}", {"assertion": f"file:{tmp_path / 'key.pem'}"}
    server.check = assertion
    async with oauth_rig(tmp_path, server, fields, provider=provider, keys=keys) as rig:
        assert (await rig.call("GET", "/me")).status == 200
        server.tokens.clear()
        assert (await rig.call("GET", "/me")).status == 200
    assert len(used) == 2

    def exchange(seen, form):
        actor = "urn:ietf:params:oauth:token-type:jwt"
        wanted = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "actor_token_type": actor,
                  "subject_token": "subject-token-of-the-user", "actor_token": "actor-token-of-the-agent",
                  "subject_token_type": "urn:ietf:params:oauth:token-type:access_token"}  # fmt: skip
        return None if {name: values[0] for name, values in form.items()} == wanted else "invalid_request"

    server.check = exchange
    fields = 'grant: token_exchange, exchange: {{subject_token: subject, actor_token: actor, actor_token_type: "urn:ietf:params:oauth:token-type:jwt"}}'
    async with oauth_rig(tmp_path, server, fields, provider=provider) as rig:
        assert (await rig.call("GET", "/me")).problem == "token_endpoint_error", "it does not say what it issued"
        server.extra = {"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
        rig.sidecar.pipeline._broker._failures.clear()
        answer = await rig.call("GET", "/me")
        assert answer.status == 200
        assert b"token-of-the" not in answer.body
