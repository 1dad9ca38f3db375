"""What policies know of costs: the most that a call may cost, and what is left of the tightest budget."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from proxy.approval.states import Vote
from tests.metering.conftest import metered

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")
POLICIES = """
@id("all") permit (principal, action, resource);
@id("dear") forbid (principal, action == Action::"callWithoutApproval", resource) when { context.cost_microusd > 1000 };
@id("much") forbid (principal, action == Action::"write", resource) when { context.cost_microusd > 100000 };
@id("poor") forbid (principal, action == Action::"write", resource)
when { context has budget_left_microusd && context.budget_left_microusd < 1500000 };
"""


def body(max_tokens: int, model: str = "small") -> bytes:
    return json.dumps({"model": model, "max_tokens": max_tokens}).encode()


async def test_policies_know_the_most_that_a_call_may_cost(tmp_path: Path) -> None:
    file = tmp_path / "own.cedar"
    file.write_text(POLICIES)
    async with metered(tmp_path, policies={"files": [str(file)]}) as rig:
        assert (await rig.call("POST", "/chat", content=body(10))).status == 200
        asked = await rig.call("POST", "/chat", content=body(1000))
        assert asked.problem == "approval_required"
        card = rig.sidecar.approvals.store.card(asked.json()["approval_id"])
        assert card is not None
        assert card["cost_microusd"] == len(body(1000)) + 2000
        refused = await rig.call("POST", "/chat", content=body(8000, "nobody-knows-it"))
        assert (refused.problem, refused.json()["policies"]) == ("policy_denied", ["much"])


async def test_k_09_p9_the_budget_and_the_policies_ask_in_one_approval(tmp_path: Path) -> None:
    file = tmp_path / "own.cedar"
    file.write_text(POLICIES)
    budget = {"name": "money", "limit": "2.00", "over": "approval", "soft": [{"at": 0.001, "then": "approval"}]}
    async with metered(tmp_path, budget, policies={"files": [str(file)]}) as rig:
        asked = await rig.call("POST", "/chat", content=body(1000))
        id_ = asked.json()["approval_id"]
        card = rig.sidecar.approvals.store.card(id_)
        assert card is not None
        asking = [reason["code"] for reason in card["reasons"] if reason["by"] != "risk"]
        assert asking == ["policy", "budget:money"]
        await rig.sidecar.approvals.vote(id_, Vote("ann", yes=True))
        assert (await rig.call("POST", "/chat", content=body(1000))).status == 200
        decision = next(call.decision for call in await rig.settled(2) if call.decision["decision"] == "allow")
        assert (decision["approval"], decision["budgets"]) == (id_, "money")


async def test_nobody_is_asked_about_what_a_budget_refuses_anyway(tmp_path: Path) -> None:
    file = tmp_path / "own.cedar"
    file.write_text(POLICIES)
    async with metered(
        tmp_path, {"name": "few", "unit": "requests", "limit": 1}, policies={"files": [str(file)]}
    ) as rig:
        assert (await rig.call("POST", "/chat", content=body(10))).status == 200
        assert (await rig.call("POST", "/chat", content=body(1000))).problem == "budget_exceeded"
        assert rig.sidecar.approvals.store.listed(tenant=None, state=None, limit=9) == ()


async def test_policies_know_what_is_left(tmp_path: Path) -> None:
    file = tmp_path / "own.cedar"
    file.write_text(POLICIES)
    async with metered(tmp_path, {"name": "money", "limit": "1.50"}, policies={"files": [str(file)]}) as rig:
        assert (await rig.call("POST", "/chat", content=body(10))).status == 200  # 1.50 is left
        refused = await rig.call("POST", "/chat", content=body(10))
        assert (refused.problem, refused.json()["policies"]) == ("policy_denied", ["poor"])
        assert len(rig.provider.requests) == 1
