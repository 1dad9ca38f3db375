"""`kind: vc` through the real sidecar, against an issuer and verifiers that are not our code."""

from __future__ import annotations

import base64
import json
import time

import pytest

from tests.credentials.vc.conftest import HIDDEN
from tests.fakes.credential_issuer import V2, answer, key, public, signed

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_challenge_is_answered_unseen_and_only_what_is_declared_is_shown(stage):
    stage.staff(index=3)
    answered = await stage.get("/shown/things")
    assert answered.status == 200
    (claims,) = stage.shown
    assert claims["given_name"] == HIDDEN["given_name"]
    assert not {"family_name", "roles"} & claims.keys()
    assert [r.one("authorization") is None for r in stage.provider.requests if r.path == "/shown/things"] == [
        True,
        False,
    ]
    assert (
        await stage.get("/shown/things")
    ).status == 200  # the nonce is remembered, the status list is not asked again
    assert len(stage.shown) == 2
    assert [r.path for r in stage.provider.requests].count("/status/1") == 1


async def test_p1_nothing_of_the_credential_reaches_the_agent(stage):
    stage.staff()
    answered = await stage.get("/shown/things")
    assert answered.status == 200
    sent = next(r for r in reversed(stage.provider.requests) if r.path == "/shown/things").one("authorization")
    everything = answered.body + str(answered.headers).encode()
    for piece in stage.held.rstrip("~").split("~"):
        assert piece.encode() not in everything
        assert base64.b64encode(piece.encode())[:40] not in everything
    assert sent.split("~")[0].encode() not in everything
    calls = await stage.rig.settled(1)
    receipts = json.dumps([call.decision for call in calls]) + json.dumps([call.outcome for call in calls])
    assert "CANARY" not in receipts
    assert stage.held[:60] not in receipts
    last = calls[0].decision if calls[0].decision["path"] == "/shown/things" else calls[-1].decision
    assert (last["credential_kind"], last["account"]) == ("vc", "example/main")
    assert len(last["credential_token"]) == 24


async def test_an_older_type_of_token_is_known(stage):
    stage.staff(typ="vc+sd-jwt")
    assert (await stage.get("/shown/things")).status == 200


async def test_a_presentation_is_exchanged_for_a_token_once(stage):
    stage.staff(index=0)
    answered = await stage.get("/exchanged/things")
    assert answered.status == 200
    assert stage.tokens[0].encode() not in answered.body
    assert (await stage.get("/exchanged/things")).status == 200
    assert len(stage.tokens) == 1
    assert stage.shown[0]["roles"] == HIDDEN["roles"]
    assert "given_name" not in stage.shown[0]


async def test_a_token_that_ended_early_is_replaced_unseen(stage):
    stage.staff()
    assert (await stage.get("/exchanged/things")).status == 200
    stage.tokens.append("token-CANARY-that-nobody-has-0123456789")
    assert (await stage.get("/exchanged/things")).status == 200
    assert len(stage.tokens) == 3


async def expect(stage, slug, path="/shown/things"):
    refused = await stage.get(path)
    assert refused.problem == slug, refused.body
    assert path not in [r.path for r in stage.provider.requests]
    assert b"CANARY" not in refused.body
    return refused


@pytest.mark.parametrize(
    "changed",
    [{"exp": 1}, {"nbf": 2**40}, {"exp": "soon"}, {"vct": "https://credentials.example.test/other"}, {"vct": None},
     {"iss": "https://elsewhere.test"}, {"iss": None}, {"typ": "jwt"}, {"status": {"status_list": {}}}],
)  # fmt: skip
async def test_p5_a_credential_that_must_not_be_used(stage, changed):
    stage.staff(**changed)
    await expect(stage, "credential_unavailable")


async def test_p5_a_claim_that_must_not_be_hidden(stage):
    stage.hold(stage.issuer.sd_jwt(stage.holder, {**HIDDEN, "vct": "https://credentials.example.test/staff"}, vct=None))
    await expect(stage, "credential_unavailable")


async def test_p5_a_credential_of_another_holder(stage):
    stage.staff(holder=key())
    await expect(stage, "credential_unavailable")
    stage.hold(stage.issuer.sd_jwt(None, HIDDEN))
    await expect(stage, "credential_unavailable")


async def test_p5_a_credential_signed_by_somebody_else(stage):
    text = stage.staff()
    forged = signed(key(), {"typ": "dc+sd-jwt", "kid": "issuer-1"}, base64.urlsafe_b64decode(text.split(".")[1] + "=="))
    stage.hold("~".join((forged, *text.split("~")[1:])))
    await expect(stage, "credential_unavailable")


@pytest.mark.parametrize(
    "metadata",
    [answer(404), answer(200, b"garbage"), answer(200, b"x" * 400_000), answer(200, {"issuer": "https://other.test", "jwks": {}}),
     answer(200, {}), answer(302, Location="https://api.example.test/keys"), answer(200, b"[" * 5000)],
)  # fmt: skip
async def test_p5_an_issuer_that_publishes_no_keys(stage, metadata):
    stage.provider.on("/.well-known/jwt-vc-issuer", metadata)
    stage.staff()
    await expect(stage, "credential_unavailable")


async def test_an_issuers_keys_may_stand_elsewhere(stage):
    stage.provider.on("/keys", answer(200, stage.issuer.jwks))
    metadata = {"issuer": stage.issuer.name, "jwks_uri": stage.url("/keys")}
    stage.provider.on("/.well-known/jwt-vc-issuer", answer(200, metadata))
    stage.staff()
    assert (await stage.get("/shown/things")).status == 200


async def test_p5_a_withdrawn_or_suspended_credential(stage):
    for value in (1, 2):
        stage.statuses([0, value, 0, 0], bits=2)
        stage.staff(index=1)
        await expect(stage, "credential_revoked")
        stage.staff(index=2)
        assert (await stage.get("/shown/things")).status == 200
        stage.provider.requests.clear()


async def test_p5_a_status_that_nobody_can_tell(stage):
    uri = stage.url("/status/1")
    lists = [
        answer(500), answer(200, b"garbage"), answer(200, b"\xff" * 100), answer(200, b"x" * 3_000_000),
        answer(200, stage.issuer.token_status_list(uri + "x", [0] * 8)),
        answer(200, stage.issuer.token_status_list(uri, [0] * 8, exp=1)),
        answer(200, signed(key(), {"typ": "statuslist+jwt"}, {"sub": uri, "iat": 1, "status_list": {"bits": 1, "lst": "eNpjAAAAAQAB"}})),
    ]  # fmt: skip
    for handler in lists:
        stage.provider.on("/status/1", handler)
        stage.staff(index=1)
        refused = await expect(stage, "credential_unavailable")
        assert "approval" in refused.json()["detail"]
    stage.statuses([0] * 8)
    stage.staff(index=8)
    await expect(stage, "credential_unavailable")


async def test_a_w3c_credential_is_presented_as_a_presentation(stage):
    uri = stage.url("/bits")
    stage.provider.on("/bits", answer(200, stage.issuer.bitstring(uri, {7})))

    def entry(index):
        return {"type": "BitstringStatusListEntry", "statusPurpose": "revocation", "statusListIndex": str(index),
                "statusListCredential": uri}  # fmt: skip

    credential = stage.hold(stage.issuer.vc_jwt(stage.holder, credentialStatus=entry(6)))
    answered = await stage.get("/w3c/things")
    assert answered.status == 200
    sent = stage.provider.last.one("authorization").removeprefix("VP ")
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in sent.split(".")[:2])
    assert header["typ"] == "vp+jwt"
    stage.holder.thumbprint()
    from jwcrypto.jws import JWS

    token = JWS()
    token.deserialize(sent, stage.holder)  # verified by other code than ours
    assert claims["aud"] == "https://api.example.test"
    assert claims["@context"] == [V2]
    assert claims["verifiableCredential"][0]["id"] == f"data:application/vc+jwt,{credential}"
    assert claims["iat"] <= time.time() < claims["exp"]
    everything = answered.body
    inside = [base64.b64encode(b"x" * shift + credential.encode())[8:60] for shift in range(3)]
    assert any(piece in sent.encode() for piece in inside)
    assert not any(piece in everything for piece in inside)  # within the base64 of the presentation
    assert credential.encode() not in everything
    stage.hold(stage.issuer.vc_jwt(stage.holder, credentialStatus=entry(7)))
    stage.provider.requests.clear()
    await expect(stage, "credential_revoked", "/w3c/things")


@pytest.mark.parametrize(
    "changed",
    [{"@context": ["https://www.w3.org/2018/credentials/v1"]}, {"@context": V2}, {"type": ["VerifiableCredential"]},
     {"type": ["StaffCredential"]}, {"vc": {}}, {"issuer": "https://other.test"}, {"exp": 1}, {"credentialSubject": None},
     {"cnf": None}, {"cnf": {"jwk": public(key())}}, {"header": {"typ": "JWT"}}],
)  # fmt: skip
async def test_p5_a_w3c_credential_that_must_not_be_used(stage, changed):
    stage.hold(stage.issuer.vc_jwt(stage.holder, **changed))
    await expect(stage, "credential_unavailable", "/w3c/things")


@pytest.mark.parametrize(
    "token",
    [answer(500), answer(200, b"garbage"), answer(200, b"x" * 400_000), answer(200, {"access_token": 7}),
     answer(200, {"access_token": "x y"}), answer(200, {"access_token": "a" * 20, "expires_in": -1}),
     answer(200, {"access_token": "a" * 20, "expires_in": 1e400}), answer(200, {"access_token": "a" * 20, "token_type": "DPoP"}),
     answer(429, {"error": "CANARY"}, Retry_After="7"), answer(400, {"error": "invalid_grant", "error_description": "CANARY"})],
)  # fmt: skip
async def test_p5_token_endpoints_that_give_nothing(stage, token):
    stage.provider.on("/token", token)
    stage.staff()
    await expect(stage, "token_endpoint_error", "/exchanged/things")
    asked = [r.path for r in stage.provider.requests].count("/token")
    await expect(stage, "token_endpoint_error", "/exchanged/things")  # and it is not asked again at once
    assert [r.path for r in stage.provider.requests].count("/token") == asked
