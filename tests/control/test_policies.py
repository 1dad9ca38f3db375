"""Policies and approvals, through the real proxy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from proxy.approval.states import State, Vote
from tests.control.conftest import controlled

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.approval.service import Approvals
    from tests.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
YES = Vote("ann", yes=True)


def approvals(rig: Rig) -> Approvals:
    return rig.sidecar.approvals


async def test_what_a_policy_permits_goes_through(rig: Rig) -> None:
    assert (await rig.call("GET", "/open")).status == 200
    decision = (await rig.settled(1))[-1].decision
    assert (decision["decision"], decision["policies"]) == ("allow", "reads reads-free")


async def test_p3_what_a_policy_forbids_never_reaches_the_provider(rig: Rig) -> None:
    before = len(rig.provider.requests)
    answer = await rig.call("GET", "/closed")
    assert (answer.status, answer.problem) == (403, "policy_denied")
    assert answer.json()["policies"] == ["closed"]
    assert answer.json()["policy_advice"] == ["Nobody reads /closed."]
    assert len(rig.provider.requests) == before


async def test_p9_a_write_waits_for_a_person_and_leaves_once(rig: Rig) -> None:
    before = len(rig.provider.requests)
    body = b'{"title":"one"}'
    asked = await rig.call("POST", "/issues", content=body)
    assert (asked.status, asked.problem) == (403, "approval_required")
    id_ = asked.json()["approval_id"]
    assert asked.headers["retry-after"] == "15"
    card = approvals(rig).store.card(id_)
    assert card is not None
    assert (card["method"], card["body"], card["agent"]) == ("POST", body.decode(), "tester")
    await approvals(rig).vote(id_, YES)
    changed = await rig.call("POST", "/issues", content=b'{"title":"two"}', headers={"Briefcased-Approval": id_})
    assert changed.problem == "approval_mismatch"
    assert len(rig.provider.requests) == before
    done = await rig.call("POST", "/issues", content=body)
    assert done.status == 200
    assert rig.provider.requests[-1].body == body
    assert (await rig.call("POST", "/issues", content=body)).problem == "approval_required"
    used = approvals(rig).store.get(id_)
    assert used is not None
    assert used.state is State.CONSUMED
    decision = next(c.decision for c in await rig.receipts() if c.decision["id"] == used.receipt)
    assert (decision["approval"], decision["approvers"], decision["decision"]) == (id_, "ann", "allow")


async def test_an_agent_that_names_an_approval_does_not_tell_the_provider(rig: Rig) -> None:
    await rig.call("GET", "/open", headers={"Briefcased-Approval": "apr_x"})
    assert "briefcased-approval" not in rig.provider.requests[-1].headers


@pytest.mark.parametrize(("yes", "wanted"), [(True, 200), (False, 403)])
async def test_a_call_may_wait_on_its_open_connection(tmp_path: Path, yes: bool, wanted: int) -> None:
    async with controlled(tmp_path, hold_s=20) as rig, asyncio.TaskGroup() as tasks:
        call = tasks.create_task(rig.call("POST", "/issues", content=b"held"))
        async with asyncio.timeout(15):
            while not approvals(rig).waiting:
                await asyncio.sleep(0.01)
        (pending,) = approvals(rig).store.listed(tenant=None, state=State.PENDING, limit=10)
        await approvals(rig).vote(pending.id, Vote("ann", yes=yes))
        answer = await call
        assert answer.status == wanted
        assert len(rig.provider.requests) == int(yes)


async def test_whoever_hangs_up_withdraws(tmp_path: Path) -> None:
    async with controlled(tmp_path, hold_s=20) as rig:
        _, writer = await rig.tls()
        host = f"api.example.test:{rig.provider.port}"
        writer.write(f"POST /issues HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\nhi".encode())
        await writer.drain()
        async with asyncio.timeout(15):
            while not approvals(rig).waiting:
                await asyncio.sleep(0.01)
            (pending,) = approvals(rig).store.listed(tenant=None, state=State.PENDING, limit=10)
            writer.close()
            while approvals(rig).store.get(pending.id).state is not State.WITHDRAWN:  # type: ignore[union-attr]
                await asyncio.sleep(0.01)
        assert rig.provider.requests == []


async def test_observed_policies_refuse_nothing_and_are_noted(tmp_path: Path) -> None:
    async with controlled(tmp_path, policies={"preset": "read-only", "observe": True}) as rig:
        assert (await rig.call("POST", "/issues", content=b"x")).status == 200
        assert (await rig.settled(1))[0].decision["observed"] == "policy_denied"


async def test_in_ga_the_standard_preset_decides(tmp_path: Path) -> None:
    relaxed = {"mode": "staging", "policies": {}}
    async with controlled(tmp_path, **relaxed) as rig:
        assert (await rig.call("GET", "/x")).status == 200
        assert (await rig.call("POST", "/x", content=b"x")).problem == "approval_required"
