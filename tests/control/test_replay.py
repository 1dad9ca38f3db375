"""Receipts of real calls, asked of other policies: what would change is told, and what cannot be told as well."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from proxy.catalog.policies import vocabulary
from proxy.model import Agent
from proxy.policy import Policies
from proxy.trial.replay import Change, replayed
from tests.control.conftest import POLICIES, controlled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
AGENTS = {"tester": Agent("tester", ("*",), "-")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def called(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with controlled(tmp_path_factory.mktemp("replay")) as rig:
        for method, path in (
            ("GET", "/a?x=1"),
            ("GET", "/closed"),
            ("POST", "/b"),
            ("DELETE", "/c"),
            ("OPTIONS", "/d"),
        ):
            await rig.call(method, path)
        yield rig


async def changes(rig: Rig, text: str) -> dict[str, tuple[str, str | None, str | None]]:
    configuration, generation = rig.configuration, rig.sidecar.pipeline.generation
    candidate = Policies.load([("new.cedar", text)], vocabulary(configuration.profiles.values()))
    decisions = [call.decision for call in await rig.settled(5)]
    found = replayed(generation, candidate, AGENTS, decisions)
    return {
        one.call.partition(" ")[0] + one.call[one.call.rindex("/") :]: (one.change.value, one.was, one.now)
        for one in found
    }


async def test_the_same_policies_change_nothing(called: Rig) -> None:
    found = await changes(called, POLICIES)
    assert {change for change, _, _ in found.values()} == {Change.UNCHANGED.value, Change.ELSEWHERE.value}
    assert {call for call, (change, _, _) in found.items() if change == Change.ELSEWHERE.value} == {"OPTIONS/d"}


async def test_each_kind_of_change_is_told(called: Rig) -> None:
    text = """
    @id("all") permit (principal, action == Action::"call", resource) unless { context.path == "/b" };
    @id("plain") permit (principal, action == Action::"callWithoutStrongApproval", resource);
    """
    assert await changes(called, text) == {
        "GET/a": ("approval added", "allow", "approval"),
        "GET/closed": ("loosened", "deny", "approval"),
        "POST/b": ("tightened", "approval", "deny"),
        "DELETE/c": ("loosened", "deny", "approval"),
        "OPTIONS/d": ("decided elsewhere", None, None),
    }


async def test_what_receipts_do_not_hold_is_unknown(called: Rig) -> None:
    text = (
        POLICIES
        + """
    @id("big") forbid (principal, action == Action::"write", resource)
    when { context has body_bytes && context.body_bytes > 5 };
    """
    )
    assert (await changes(called, text))["POST/b"] == ("unknown", "approval", None)


async def test_a_denial_says_in_its_receipt_which_policies_decided(called: Rig) -> None:
    decisions = {call.decision["path"]: call.decision for call in await called.settled(5)}
    assert decisions["/closed"]["policies"] == "closed"


async def test_a_call_of_an_agent_that_is_gone_is_unknown(called: Rig) -> None:
    generation = called.sidecar.pipeline.generation
    decisions = [call.decision for call in await called.settled(5)]
    found = list(replayed(generation, generation.policies, {}, decisions))
    assert {one.why for one in found if one.change is Change.UNKNOWN} == {"there is no such agent any more"}


SSN = b'{"note":"219-09-9999"}'
CAREFUL = """
@id("calm") permit (principal, action == Action::"call", resource) when { context.risk < 30 };
@id("known") forbid (principal, action, resource) when { context.risk_reasons.contains("nothing") };
@id("free") permit (principal, action in [Action::"callWithoutApproval", Action::"callWithoutStrongApproval"], resource);
"""


async def test_the_risk_is_what_the_receipt_says(tmp_path: Path) -> None:
    points = {"first_use": 0, "new_destination": 0, "ssn": 40, "iban": 40}
    risk = {"approval_at": 60, "refuse_at": 70, "bodies": "always", "points": points}
    everything = "permit (principal, action, resource);"
    async with controlled(tmp_path, text=everything, risk=risk) as rig:
        for path, body in (("/calm", b"{}"), ("/risky", SSN), ("/worse", SSN + b" DE89370400440532013000")):
            await rig.call("POST", path, content=body)
        decisions = [call.decision for call in await rig.settled(3)]
        assert [one["risk"] for one in decisions[:2]] == [0, 40]
        generation = rig.sidecar.pipeline.generation
        candidate = Policies.load([("new.cedar", CAREFUL)], vocabulary(rig.configuration.profiles.values()))
        found = {one.call[-5:]: one for one in replayed(generation, candidate, AGENTS, decisions)}
        assert (decisions[2]["denied_by"], found["worse"].change) == ("risk", Change.ELSEWHERE)
        assert found["/calm"].change is Change.UNCHANGED
        assert (found["risky"].change, found["risky"].policies) == (Change.TIGHTENED, ())
        # Thresholds of now are asked about the score of then, and before the policies: they can only tighten.
        stricter = generation.settings.risk.model_copy(update={"approval_at": 30})
        now = replace(generation, settings=generation.settings.model_copy(update={"risk": stricter}))
        again = {one.call[-5:]: one for one in replayed(now, generation.policies, AGENTS, decisions)}
        assert again["risky"].why == "the policies in force do not say what the receipt says"
        # A refusal's receipt has no score: what reads it cannot be told.
        unscored = [{**one, "risk": None} for one in decisions]
        unknown = next(iter(replayed(generation, candidate, AGENTS, unscored)))
        assert unknown.why == "a policy reads context.risk, which receipts do not hold"
