"""Receipts of real calls, asked of other policies: what would change is told, and what cannot be told as well."""

from __future__ import annotations

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
