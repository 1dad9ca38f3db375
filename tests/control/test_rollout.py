"""Policies on their way into force: who they decide for, what receipts say of the others, and who was asked under which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.approval.states import Vote
from proxy.catalog.configuration import Configuration
from proxy.errors import ConfigError
from proxy.model import Agent
from proxy.policy import Policies, Rollout, Vocabulary
from tests.control.conftest import POLICIES, controlled

if TYPE_CHECKING:
    from pathlib import Path

NEXT = (
    POLICIES
    + """
@id("free") permit (principal, action == Action::"callWithoutApproval", resource) when { context.path == "/free" };
@id("gone") forbid (principal, action, resource) when { context.path == "/gone" };
"""
)
AGENTS = {"early": ("*",), "late": ("*",)}


def candidate(folder: Path, **stage: object) -> dict[str, object]:
    """`policies:` with NEXT on its way."""
    file = folder / "next.cedar"
    file.write_text(NEXT)
    return {"files": [str(folder / "own.cedar")], "candidate": {"files": [str(file)], **stage}}


async def test_the_candidate_decides_for_some_and_is_noted_for_others(tmp_path: Path) -> None:
    policies = candidate(tmp_path, agents=["early"])
    async with controlled(tmp_path, policies=policies, agents=AGENTS) as rig:
        assert (await rig.call("POST", "/free", content=b"1", agent="early")).status == 200
        assert (await rig.call("POST", "/free", content=b"2", agent="late")).problem == "approval_required"
        assert (await rig.call("GET", "/gone", agent="early")).problem == "policy_denied"
        assert (await rig.call("GET", "/gone", agent="late")).status == 200
        assert (await rig.call("GET", "/closed", agent="late")).json()["policies"] == ["closed"]
        assert (await rig.call("GET", "/same", agent="late")).status == 200
        calls = {(call.decision["agent"], call.decision["path"]): call.decision for call in await rig.settled(6)}
    told = {key: decision.get("candidate") for key, decision in calls.items()}
    assert told == {
        ("early", "/free"): None,
        ("late", "/free"): "allow",
        ("early", "/gone"): None,
        ("late", "/gone"): "policy_denied",
        ("late", "/closed"): None,
        ("late", "/same"): None,
    }


async def test_p9_j_13_an_approval_given_under_one_set_counts_under_no_other(tmp_path: Path) -> None:
    async with controlled(tmp_path, policies=candidate(tmp_path), agents=AGENTS) as rig:
        asked = await rig.call("POST", "/x", content=b"1", agent="early")
        await rig.sidecar.approvals.vote(asked.json()["approval_id"], Vote("ann", yes=True))
        settings = rig.configuration.settings
        assert settings.policies.candidate is not None
        staged = settings.policies.candidate.model_copy(update={"agents": ("early",)})
        changed = settings.policies.model_copy(update={"candidate": staged})
        profiles = rig.configuration.profiles
        await rig.sidecar.reload(Configuration(settings.model_copy(update={"policies": changed}), profiles))
        again = await rig.call("POST", "/x", content=b"1", agent="early")
        assert again.problem == "approval_required"
        assert again.json()["approval_id"] != asked.json()["approval_id"]


def test_a_share_grows_without_letting_anybody_go() -> None:
    policies = Policies.load([("own", POLICIES)], Vocabulary(frozenset(), {}, {}))
    agents = [Agent(f"agent-{number}", ("*",), "-") for number in range(1000)]

    def within(percent: int) -> set[str]:
        return {one.name for one in agents if Rollout(policies, percent=percent).decides_for(one)}

    assert within(0) == set()
    assert len(within(100)) == len(agents)
    assert within(10) < within(30) < within(100)
    assert 60 < len(within(10)) < 140
    member = Agent("one", ("*",), "-", groups=("canary",))
    assert Rollout(policies, groups=frozenset({"canary"})).decides_for(member)


async def test_a_candidate_with_a_mistake_is_refused_whole(tmp_path: Path) -> None:
    policies = candidate(tmp_path)
    (tmp_path / "next.cedar").write_text("permit (principal, action, resource) when { context.nothing };")
    with pytest.raises(ConfigError, match=r"next\.cedar:1"):
        async with controlled(tmp_path, policies=policies):
            pass
