"""Risk through the real proxy: thresholds, what is remembered, what the classifier adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from proxy.approval.states import State, Vote
from proxy.db.engine import DATABASE, open_database, writing
from tests.control.conftest import controlled
from tests.fakes.classifier import ClassifierServer
from tests.rig import running_rig
from tests.rig.provider import Provider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOSTS = ("api.example.test", "other.example.test", "risk.example.test")
OPEN: dict[str, Any] = {"policies": {"preset": "open"}}
YES = Vote("ann", yes=True)
SSN = b'{"note":"219-09-9999"}'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    risk = {"approval_at": 40, "refuse_at": 80, "bodies": "always", "points": {"first_use": 0, "new_destination": 0}}
    async with controlled(tmp_path_factory.mktemp("risk"), **OPEN, risk=risk) as rig:
        yield rig


async def test_a_harmless_body_leaves_and_its_score_is_in_the_receipt(rig: Rig) -> None:
    answer = await rig.call("POST", "/notes", content=b'{"note":"hello"}')
    assert answer.status == 200
    assert rig.provider.requests[-1].body == b'{"note":"hello"}'
    [call] = [one for one in await rig.settled(1) if one.decision["id"] == answer.headers["briefcased-receipt"]]
    assert call.decision["risk"] == 0


async def test_p3_a_risky_body_waits_for_a_person_who_sees_why(rig: Rig) -> None:
    before = len(rig.provider.requests)
    asked = await rig.call("POST", "/notes", content=SSN)
    assert (asked.status, asked.problem) == (403, "approval_required")
    assert len(rig.provider.requests) == before
    card = rig.sidecar.approvals.store.card(asked.json()["approval_id"])
    assert card is not None
    assert [(one["code"], one["by"]) for one in card["reasons"]] == [("ssn", "risk")]
    await rig.sidecar.approvals.vote(asked.json()["approval_id"], YES)
    assert (await rig.call("POST", "/notes", content=SSN)).status == 200


async def test_p3_what_is_too_risky_is_refused_with_codes_and_nothing_else(rig: Rig) -> None:
    before = len(rig.provider.requests)
    answer = await rig.call("POST", "/notes", content=SSN + b" DE89370400440532013000")
    assert (answer.status, answer.problem) == (403, "policy_denied")
    assert answer.json()["risk_reasons"] == ["iban", "ssn"]
    assert b"219-09" not in answer.body
    assert len(rig.provider.requests) == before
    [refused] = [one for one in await rig.receipts() if one.decision["id"] == answer.json()["receipt"]]
    decision = refused.decision
    assert (decision["decision"], decision["denied_by"], decision["risk_reasons"]) == ("deny", "risk", "iban ssn")


async def test_the_query_is_looked_at_before_any_body(rig: Rig) -> None:
    answer = await rig.call("GET", "/x?note=-----BEGIN+PRIVATE+KEY-----")
    assert answer.json()["risk_reasons"] == ["private_key"]


async def test_a_stand_in_is_no_secret(rig: Rig) -> None:
    stand_in = rig.stand_in()
    assert (await rig.call("POST", "/notes", content=f"I hold {stand_in}".encode())).status == 200
    assert (await rig.call("GET", "/x", headers={"Authorization": f"Bearer {stand_in}"})).status == 200


async def test_a_body_that_cannot_be_looked_at_counts_as_the_highest(rig: Rig) -> None:
    large = await rig.call("POST", "/notes", content=b"x" * 300_000)
    assert (large.problem, large.json()["risk_reasons"]) == ("policy_denied", ["body_unseen"])
    packed = await rig.call("POST", "/notes", content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert (packed.problem, packed.json()["risk_reasons"]) == ("policy_denied", ["body_unseen"])


@pytest_asyncio.fixture(loop_scope="module")
async def provider(tmp_path: Path) -> AsyncIterator[Provider]:
    provider = Provider(tmp_path, HOSTS)
    await provider.start()
    yield provider
    await provider.stop()


def started(folder: Path, provider: Provider, risk: dict[str, Any]) -> AbstractAsyncContextManager[Rig]:
    blocks = {**OPEN, "approvals": {"hold_s": 0}, "risk": risk}
    return running_rig(folder, settings=blocks, provider=provider, resolve=dict.fromkeys(HOSTS, ("127.0.0.1",)))


async def test_first_use_is_remembered_also_after_a_restart(tmp_path: Path, provider: Provider) -> None:
    risk = {"approval_at": 15, "points": {"new_destination": 0}}
    async with started(tmp_path, provider, risk) as rig:
        asked = await rig.call("GET", "/x")
        assert asked.problem == "approval_required"
        assert (await rig.call("GET", "/x")).problem == "approval_required"  # what was refused is no use
        await rig.sidecar.approvals.vote(asked.json()["approval_id"], YES)
        assert (await rig.call("GET", "/x")).status == 200
        assert (await rig.call("GET", "/other")).status == 200
        assert (await rig.call("POST", "/x", content=b"x")).problem == "approval_required"
    async with started(tmp_path, provider, risk) as rig:
        assert (await rig.call("GET", "/again")).status == 200
        assert (await rig.call("POST", "/x", content=b"x")).problem == "approval_required"


async def test_p12_a_classifier_raises_the_score_and_its_silence_too(tmp_path: Path, provider: Provider) -> None:
    provider.handlers["/score"] = server = ClassifierServer()
    described = {"url": f"https://risk.example.test:{provider.port}/score", "ca_bundle": str(provider.root)}
    risk = {"approval_at": 60, "refuse_at": 90, "classifier": described}
    async with started(tmp_path, provider, risk) as rig:
        assert (await rig.call("GET", "/x")).status == 200
        assert server.asked[-1]["operation"] == "read"
        server.score, server.reasons = 70, ["odd"]
        asked = await rig.call("POST", "/notes", content=b"held for it")
        assert asked.problem == "approval_required"
        pending = rig.sidecar.approvals.store.listed(tenant=None, state=State.PENDING, limit=10)
        assert [one.id for one in pending] == [asked.json()["approval_id"]]
        await rig.sidecar.approvals.vote(pending[0].id, YES)
        assert (await rig.call("POST", "/notes", content=b"held for it")).status == 200
        assert rig.provider.requests[-1].body == b"held for it"
        server.score = 95
        assert (await rig.call("GET", "/x")).json()["risk_reasons"] == ["classifier", "classifier.odd"]
        server.text = "broken"
        assert (await rig.call("GET", "/x")).json()["risk_reasons"] == ["classifier_unavailable"]


async def test_p5_a_database_that_cannot_be_read_is_the_highest_risk(tmp_path: Path, provider: Provider) -> None:
    async with started(tmp_path, provider, {"refuse_at": 100}) as rig:
        database = open_database(rig.home / DATABASE)
        with writing(database) as connection:
            connection.execute(text("ALTER TABLE risk_uses RENAME TO gone"))
        database.dispose()
        answer = await rig.call("GET", "/x")
        assert answer.problem == "policy_denied"
        assert "past_unknown" in answer.json()["risk_reasons"]
        assert provider.requests == []
