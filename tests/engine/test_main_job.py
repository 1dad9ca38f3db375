"""The main job over both protocols: injected, scrubbed, receipted."""

from __future__ import annotations

import pytest

from tests.rig.sidecar import KEY


@pytest.mark.parametrize("http2", [False, True])
async def test_a_call_leaves_with_the_credential_and_comes_back_without_it(rig, http2):
    stand_in = rig.stand_in()
    answer = await rig.call(
        "POST", "/v1/things?a=1", http2=http2, headers={"Authorization": f"Bearer {stand_in}"}, content=b"hello"
    )
    assert answer.status == 200
    seen = rig.provider.last
    assert (seen.method, seen.target, seen.body) == ("POST", "/v1/things?a=1", b"hello")
    assert seen.all("authorization") == [f"Bearer {KEY}"]
    assert KEY.encode() not in answer.body
    assert ["authorization", f"Bearer {stand_in}"] in answer.json()["headers"]
    (call,) = await rig.settled(1)
    assert call.decision["id"] == answer.headers["briefcased-receipt"]
    assert call.outcome["outcome"] == "completed"
    assert call.outcome["redactions"] == 1
    assert call.outcome["address"] == "127.0.0.1"


@pytest.mark.parametrize("http2", [False, True])
async def test_a_refused_call_never_reaches_the_provider(rig, http2):
    answer = await rig.call("DELETE", "/v1/things/1", http2=http2)
    assert answer.status == 403
    assert answer.problem == "policy_denied"
    assert rig.provider.connections == 0
    (call,) = await rig.settled(1)
    assert (call.decision["decision"], call.decision["slug"]) == ("deny", "policy_denied")
