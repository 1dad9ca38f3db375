"""`kind: vc` through the real sidecar, against an issuer and verifiers that are not our code."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace

import pytest

from proxy.approval.states import State, Vote
from proxy.model import Mode
from proxy.policy_settings import PolicySettings
from proxy.settings import Confinement
from tests.credentials.vc.conftest import HIDDEN
from tests.fakes.credential_issuer import V2, answer

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


async def test_p5_an_expired_or_withdrawn_credential(stage):
    stage.staff(exp=1)
    await expect(stage, "credential_unavailable")
    stage.statuses([0, 2, 0, 0], bits=2)
    stage.staff(index=1)
    await expect(stage, "credential_revoked")


async def test_p9_where_nobody_can_tell_whether_it_still_holds_a_person_decides_about_each_use(stage):
    approvals = stage.rig.sidecar.approvals
    for broken in (answer(500), answer(200, b"x" * 3_000_000)):
        stage.provider.on("/status/1", broken)
        stage.staff(index=2)
        id_ = (await expect(stage, "approval_required")).json()["approval_id"]
        assert [one["code"] for one in approvals.store.card(id_)["reasons"]] == ["credential_in_doubt"]
        await approvals.vote(id_, Vote("ann", yes=True))
        assert (await stage.get("/shown/things")).status == 200
        assert approvals.store.get(id_).state is State.CONSUMED
        stage.provider.requests.clear()
        await expect(stage, "approval_required")


async def test_p5_in_ga_nobody_is_asked_about_an_unknown_status(stage):
    stage.provider.on("/status/1", answer(500))
    stage.staff(index=2)
    before = stage.rig.configuration
    strict = {"mode": Mode.GA, "confinement": Confinement(required=False), "policies": PolicySettings(preset="open")}
    await stage.rig.sidecar.reload(replace(before, settings=before.settings.model_copy(update=strict)))
    try:
        await expect(stage, "credential_unavailable")
    finally:
        await stage.rig.sidecar.reload(before)


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


async def test_p5_a_token_endpoint_that_asks_to_wait_is_not_asked_again_at_once(stage):
    stage.provider.on("/token", answer(429, {"error": "CANARY"}, Retry_After="7"))
    stage.staff()
    await expect(stage, "token_endpoint_error", "/exchanged/things")
    asked = len(stage.provider.requests)
    await expect(stage, "token_endpoint_error", "/exchanged/things")
    assert len(stage.provider.requests) == asked
