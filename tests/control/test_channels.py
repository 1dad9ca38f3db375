"""Channels and standing grants through the real proxy."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import httpx
import pytest

from proxy.approval.approvers import Ballot
from proxy.approval.grants import Terms
from proxy.approval.statement import Wish
from tests.approval.receiver import HOST, SECRETS, SlackServer
from tests.approval.voting import approver
from tests.control.conftest import POLICIES
from tests.rig import Provider, running_rig
from tests.rig.sidecar import HOSTS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig import Rig

pytestmark = pytest.mark.asyncio


async def pressed(rig: Rig, id_: str) -> int:
    """What Slack is answered when Ann presses the button."""
    payload = {
        "type": "block_actions",
        "user": {"id": "U1ANN"},
        "actions": [{"action_id": "briefcased_approve", "value": id_}],
    }
    body, stamp = urlencode({"payload": json.dumps(payload)}).encode(), str(int(time.time()))
    signed = hmac.new(SECRETS["env:SIGNING"], f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {"Host": "approvals.example.test", "X-Slack-Request-Timestamp": stamp}
    assert rig.sidecar.api is not None
    base = f"http://{rig.sidecar.api[0]}:{rig.sidecar.api[1]}"
    async with httpx.AsyncClient(base_url=base, headers=headers, trust_env=False) as client:
        place, forged = "/approvals/slack/team", f"v0={'0' * 64}"
        assert (await client.post(place, content=body, headers={"X-Slack-Signature": forged})).status_code == 401
        assert (await client.post(f"{place}x", content=body)).status_code == 404
        return (await client.post(place, content=body, headers={"X-Slack-Signature": f"v0={signed}"})).status_code


async def test_from_a_refused_call_over_slack_to_an_allowed_one_and_a_grant(tmp_path: Path) -> None:
    provider = Provider(tmp_path, (*HOSTS, HOST))
    await provider.start()
    slack = SlackServer(provider)
    for method in ("chat.postMessage", "chat.update"):
        provider.on(f"/api/{method}", slack.post)
    file = tmp_path / "own.cedar"
    file.write_text(POLICIES)
    settings = {
        "listeners": {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0", "api": "127.0.0.1:0"},
        "policies": {"files": [str(file)]},
        "approvals": {
            "hold_s": 0,
            "channels": {"slack": {"team": slack.settings(token="env:BOT", signing_secret="env:SIGNING")}},
        },
    }
    environment = {"BOT": SECRETS["env:BOT"].decode(), "SIGNING": SECRETS["env:SIGNING"].decode()}
    resolve = dict.fromkeys((*HOSTS, HOST), ("127.0.0.1",))
    try:
        async with running_rig(
            tmp_path, settings=settings, environment=environment, provider=provider, resolve=resolve
        ) as rig:
            first = await rig.call("POST", "/issues", content=b"one")
            assert first.problem == "approval_required"
            id_ = first.json()["approval_id"]
            await until(lambda: bool(slack.messages))
            (message,) = slack.messages.values()
            assert "xoxb-canary-token" not in json.dumps(message)
            assert await pressed(rig, id_) == 200
            assert (await rig.call("POST", "/issues", content=b"one")).status == 200
            await until(lambda: "approved, and sent by ann" in json.dumps(slack.messages))

            second = await rig.call("POST", "/issues", content=b"two")
            wish = Wish(Terms(for_s=3600, max_uses=2, max_cost_microusd=0), "/issues")
            _, grant = await rig.sidecar.people.approvers.decide(
                second.json()["approval_id"], Ballot(approver("ann"), yes=True, grant=wish)
            )
            assert grant is not None
            assert (await rig.call("POST", "/issues", content=b"two")).status == 200  # its own approval
            for number in range(2):
                answer = await rig.call("POST", "/issues", content=b"%d" % number)
                assert answer.status == 200
            decision = next(
                c.decision for c in await rig.receipts() if c.decision["id"] == answer.headers["briefcased-receipt"]
            )
            assert (decision["approval"], decision["approvers"]) == (grant.id, "ann")
            assert (await rig.call("POST", "/issues", content=b"3")).problem == "approval_required"
            assert (await rig.call("PUT", "/issues", content=b"3")).problem == "approval_required"
    finally:
        await provider.stop()


async def until(true: object) -> None:
    """Wait for it."""
    assert callable(true)
    async with asyncio.timeout(15):
        while not true():
            await asyncio.sleep(0.02)
