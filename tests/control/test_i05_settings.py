"""I-05: settings that allow more wait for a second operator or a signature, at reloads and at starts, like policies do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest
from sqlalchemy import text

from proxy.db.engine import DATABASE, open_database, writing
from proxy.errors import BriefcaseError
from proxy.keys.software import generate
from proxy.policy_versions import Frame, digest_of
from proxy.settings import Settings
from tests.control.conftest import POLICIES
from tests.control.test_policy_versions import WIDER, changes, configured
from tests.control.test_widening import place, signed
from tests.rig.provider import Provider
from tests.rig.sidecar import HOSTS, accounts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from proxy.catalog.configuration import Configuration
    from tests.rig import Rig

FREE = """
@id("all") permit (principal, action == Action::"call", resource);
@id("free") permit (principal, action in [Action::"callWithoutApproval", Action::"callWithoutStrongApproval"], resource);
"""
BEFORE: dict[str, Any] = {
    "agents": {"tester": {"accounts": ["example/main"]}},
    "egress": {"allow_private": [{"host": HOSTS[n], "addresses": ["127.0.0.1/32"]} for n in (0, 2, 3)]},
    "approvals": {"hold_s": 0, "approvers": 2, "use_within_s": 60},
    "budgets": [{"name": "few", "unit": "requests", "limit": 1, "match": {"operation": "example:ranged"}}],
    "risk": {"approval_at": 90},
    "operators": {"local": [{"uid": 4711, "name": "eve", "role": "viewer"}]},
}


def changed(rig: Rig, **blocks: Any) -> Configuration:
    """What is in force, with these blocks of the settings in place of its own; None: without it."""
    data = rig.sidecar.configuration.settings.model_dump(mode="json", exclude_defaults=True) | blocks
    found = Settings.model_validate_json(orjson.dumps({name: one for name, one in data.items() if one is not None}))
    return replace(rig.sidecar.configuration, settings=found, policies=None, rollout=None)


@dataclass
class Case:
    """A change of the settings, what is said of it, and what can be seen before it is in force, and then."""

    blocks: Mapping[str, Any]
    said: str
    seen: Callable[[Rig], Awaitable[Any]]
    was: Any
    now: Any


async def unmanaged(rig: Rig) -> Any:
    return await tunnel(rig, HOSTS[3])


async def unread(rig: Rig) -> Any:
    return await tunnel(rig, HOSTS[2])


async def tunnel(rig: Rig, host: str) -> bool:
    """Whether a CONNECT there gets through the front."""
    try:
        _, writer = await rig.connect(f"{host}:{rig.provider.port}")
    except AssertionError:
        return False
    writer.close()
    return True


async def deleting(rig: Rig) -> Any:
    return (await rig.call("DELETE", "/x")).status


async def stand_ins(rig: Rig) -> Any:
    return sorted({str(one.account) for one in rig.sidecar.pipeline.generation.stand_ins.all})


async def ranged(rig: Rig) -> Any:
    await rig.call("GET", "/ranged")
    return (await rig.call("GET", "/ranged")).problem


async def approving(rig: Rig) -> Any:
    return rig.sidecar.approvals.settings.approvers, rig.sidecar.approvals.settings.use_within_s


async def thresholds(rig: Rig) -> Any:
    return rig.sidecar.pipeline.generation.settings.risk.approval_at


async def private(rig: Rig) -> Any:
    return sorted(rig.sidecar.pipeline.generation.allow_private)


async def operators(rig: Rig) -> Any:
    return [str(one.role) for one in rig.sidecar.configuration.settings.operators.local]


def everything(rig: Rig) -> list[Case]:
    full = accounts(api_key="env:EXAMPLE_API_KEY")
    full["accounts"]["main"]["actions"] = ["read", "write", "admin"]
    others = [{"host": host, "addresses": ["127.0.0.1/32"]} for host in HOSTS]
    egress = rig.sidecar.configuration.settings.egress.model_dump(mode="json", exclude_defaults=True)
    passed = f"{HOSTS[2]}:{rig.provider.port}"
    return [
        Case({"passthrough_hosts": [passed]}, f"passthrough_hosts: {passed} is new", unread, False, True),
        Case({"unmatched": "pass"}, "unmatched: refuse -> pass", unmanaged, False, True),
        Case(
            {"providers": {"example": full, "other": accounts(token="env:OTHER_TOKEN")}},
            "providers.example.accounts.main.actions: admin is new", deleting, 403, 200,
        ),
        Case(
            {"agents": {"tester": {"accounts": ["example/main", "other/*"]}}},
            "agents.tester.accounts: other/* is new", stand_ins, ["example/main"], ["example/main", "other/main"],
        ),
        Case({"budgets": None}, "budgets[few] is gone", ranged, "budget_exceeded", None),
        Case(
            {"approvals": {"hold_s": 0, "use_within_s": 600}},
            "approvals.approvers: 2 -> 1", approving, (2, 60), (1, 600),
        ),
        Case({"risk": None}, "risk.approval_at: 90 -> none", thresholds, 90, None),
        Case(
            {"egress": {**egress, "allow_private": others}},
            f"egress.allow_private: {HOSTS[1]} at 127.0.0.1/32 is new", private, sorted((HOSTS[0], *HOSTS[2:])), sorted(HOSTS),
        ),
        Case(
            {"operators": {"local": [{"uid": 4711, "name": "eve", "role": "admin"}]}},
            "operators.local[4711].role: viewer -> admin", operators, ["viewer"], ["admin"],
        ),
    ]  # fmt: skip


async def test_i05_each_kind_of_setting_that_allows_more_waits_for_another_operator(tmp_path: Path) -> None:
    provider = Provider(tmp_path, HOSTS)
    await provider.start()
    also = {**BEFORE, "egress": {**BEFORE["egress"], "ca_bundle": str(provider.root)}}
    async with place(tmp_path, FREE, provider=provider, also=also) as at:
        rig = at.rig
        for case in everything(rig):
            wanted = changed(rig, **case.blocks)
            waiting = await at.waits(wanted)
            number = waiting.version.number
            assert case.said in waiting.version.waits
            assert case.said in str(waiting)
            assert await case.seen(rig) == case.was, case.said
            assert rig.sidecar.details()["waiting"] == f"version {number} of the policies is not confirmed"
            assert (await at.confirm("ann", number)).status_code == 403
            assert (await at.confirm("bob", number)).status_code == 200
            await rig.sidecar.confirmation()
            await rig.sidecar.reload(wanted)
            assert await case.seen(rig) == case.now, case.said
            assert rig.sidecar.waiting is None
        told = [one for one in await changes(rig) if one["change"] in ("policies", "policies_pending")]
        assert [one["version"] for one in told] == [1] + [n for n in range(2, len(everything(rig)) + 2) for _ in "pp"]
        assert told[1]["around"] == f"passthrough_hosts: {HOSTS[2]}:{rig.provider.port} is new"
        assert (told[2]["author"], told[2]["confirmed_by"]) == ("ann", "bob")
        assert await rig.problems() == ()
    await provider.stop()


async def test_i05_settings_that_allow_less_count_at_once_and_going_back_waits(tmp_path: Path) -> None:
    async with place(tmp_path, FREE, also={"unmatched": "pass"}) as at:
        assert await unmanaged(at.rig)
        await at.rig.sidecar.reload(changed(at.rig, unmatched=None))
        assert not await unmanaged(at.rig)
        assert (await at.waits(changed(at.rig, unmatched="pass"))).version.waits == ("unmatched: refuse -> pass",)
        assert not await unmanaged(at.rig)


async def test_i05_where_it_is_only_told_it_takes_effect_and_is_in_the_receipt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with place(tmp_path, FREE, widening="tell") as at:
        await at.rig.sidecar.reload(changed(at.rig, unmatched="pass", budgets=BEFORE["budgets"]))
        assert await unmanaged(at.rig)
        last = (await changes(at.rig))[-1]
        assert (last["change"], last["version"], last["around"]) == ("policies", 2, "unmatched: refuse -> pass")
        assert "more may be let through: unmatched: refuse -> pass" in caplog.text
        await at.rig.sidecar.reload(changed(at.rig))
        await at.rig.sidecar.reload(changed(at.rig, logs=None))
        assert len(await changes(at.rig)) == 2  # nothing that decides has changed


async def test_i05_settings_of_a_signed_bundle_need_nobody(tmp_path: Path) -> None:
    signer = generate("Ed25519")
    (tmp_path / "signer.jwk").write_text(httpx.Response(200, json=dict(signer.public.jwk)).text)
    policies = {"signers": [str(tmp_path / "signer.jwk")], "signature": str(tmp_path / "policies.sig")}
    async with place(tmp_path, FREE, **policies) as at:
        wide = changed(at.rig, unmatched="pass")
        signed(tmp_path, changed(at.rig), signer, 1)  # the policies are the same: it is not over these settings
        await at.waits(wide)
        signed(tmp_path, wide, signer, 2)
        await at.rig.sidecar.reload(wide)
        assert await unmanaged(at.rig)
        assert (await changes(at.rig))[-1]["confirmed_by"] == f"key:{signer.public.thumbprint}"


WIDE: dict[str, Any] = {
    **BEFORE,
    "unmatched": "pass",
    "agents": {"tester": {"accounts": ["example/main"]}, "late": {"accounts": ["*"]}},
    "limits": {"max_body_bytes": 2**30},
    "approvals": {"hold_s": 0, "approvers": 1, "use_within_s": 30},
}


async def test_i05_a_start_stays_with_what_was_confirmed_and_takes_what_narrows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Provider(tmp_path, HOSTS)
    await provider.start()
    egress = {"egress": {**BEFORE["egress"], "ca_bundle": str(provider.root)}}
    before = {**BEFORE, **egress, "limits": {"max_body_bytes": 10}}
    more = {"more": [{"at": f"unix:{tmp_path}/open.sock", "agent": "late"}]}
    listeners = {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0", "api": "127.0.0.1:0"}
    async with place(tmp_path, FREE, provider=provider, also=before) as at:
        tokens = at.tokens
    wide = {**WIDE, **egress, "listeners": {**listeners, **more}}
    async with place(tmp_path, FREE, provider=provider, also=wide) as at:
        rig = at.rig
        assert not await unmanaged(rig)
        assert (await rig.call("POST", "/x", content=b"more than ten bytes")).problem == "request_too_large"
        assert sorted(rig.sidecar.directory.agents) == ["tester"]
        assert (rig.sidecar.configuration.settings.listeners.more, len(rig.sidecar.endpoints)) == ((), 1)
        assert await approving(rig) == (2, 30)
        assert rig.sidecar.details()["waiting"] == "version 2 of the policies is not confirmed"
        assert "  agents.late is new" in caplog.text
        found = at.versions.waiting()
        assert found is not None
        assert found.waits == (
            f"listeners.more[unix:{tmp_path}/open.sock] is new", "agents.late is new", "unmatched: refuse -> pass",
            "approvals.approvers: 2 -> 1", "limits.max_body_bytes: 10 -> 1073741824",
        )  # fmt: skip
        with pytest.raises(
            BriefcaseError, match="listeners needs a restart"
        ):  # what waits is more than a reload can do
            await rig.sidecar.reload(rig.configuration)
        at.tokens |= tokens
        assert (await at.confirm("ann", 2)).status_code == 403
        assert (await at.confirm("bob", 2)).status_code == 200
    async with place(tmp_path, FREE, provider=provider, also=wide) as at:
        assert at.rig.sidecar.waiting is None
        assert await unmanaged(at.rig)
        assert len(at.rig.sidecar.endpoints) == 2
        assert sorted(at.rig.sidecar.directory.agents) == ["late", "tester"]
    await provider.stop()


@pytest.mark.slow
async def test_i05_a_start_that_cannot_have_back_what_was_confirmed_is_refused(tmp_path: Path) -> None:
    provider = Provider(tmp_path, HOSTS)
    await provider.start()
    async with place(tmp_path, FREE, provider=provider, also={"unmatched": "pass"}):
        pass
    less = {"unmatched": "pass", "providers": {"example": accounts(api_key="env:EXAMPLE_API_KEY")}}
    with pytest.raises(BriefcaseError, match=r"providers\.other is gone, so its calls pass unread") as refused:
        async with place(tmp_path, FREE, provider=provider, also=less):
            pass
    assert "briefcased policy confirm 2" in str(refused.value)
    await provider.stop()


def of_before(home: Path, cedar: str) -> None:
    """Make the newest version, of files that say `cedar`, one of a release that did not keep the settings."""
    database = open_database(home / DATABASE)
    with writing(database) as connection:
        row = connection.execute(text("SELECT number, frame FROM policy_versions ORDER BY 1 DESC")).first()
        assert row is not None
        frame = {name: value for name, value in orjson.loads(row.frame).items() if name != "settings"}
        said = {name: value for name, value in frame.items() if value}
        digest = digest_of([("own.cedar", cedar)], Frame(**said))
        connection.execute(
            text("UPDATE policy_versions SET frame = :frame, files_digest = :digest WHERE number = :number"),
            {"frame": orjson.dumps(frame).decode(), "digest": digest, "number": row.number},
        )
    database.dispose()


async def test_i05_a_database_of_an_earlier_release_takes_what_is_there_for_confirmed(tmp_path: Path) -> None:
    provider = Provider(tmp_path, HOSTS)
    await provider.start()
    async with place(tmp_path, FREE, provider=provider):
        pass
    of_before(tmp_path / "home", FREE)
    async with place(tmp_path, FREE, provider=provider, also={"unmatched": "pass"}) as at:
        assert at.rig.sidecar.waiting is None
        assert await unmanaged(at.rig)
        assert len(await changes(at.rig)) == 1
        narrow = changed(at.rig, unmatched=None)
        await at.rig.sidecar.reload(narrow)
    async with place(tmp_path, FREE, provider=provider, also={"unmatched": "pass"}) as at:
        assert at.rig.sidecar.waiting == 3
        assert not await unmanaged(at.rig)
    await provider.stop()


@pytest.mark.slow
async def test_i05_a_rollback_outlives_the_upgrade(tmp_path: Path) -> None:
    provider = Provider(tmp_path, HOSTS)
    await provider.start()
    async with place(tmp_path, POLICIES, provider=provider) as at:
        first = at.versions.one(1)
        assert first is not None
        await at.waits(configured(at.rig, at.file, WIDER))
        assert (await at.confirm("bob", 2)).status_code == 200
        await at.rig.sidecar.reload(configured(at.rig, at.file, WIDER))
        newest = at.versions.newest()
        assert newest is not None
        at.versions.add(
            digest=first.digest, sources=first.sources, files_digest=newest.files_digest, frame=newest.frame,
            author="bob", reason="back", restores=1,
        )  # fmt: skip
        await at.rig.sidecar.reload(configured(at.rig, at.file, WIDER))
        assert (await at.rig.call("POST", "/x")).problem == "approval_required"
    of_before(tmp_path / "home", WIDER)
    async with place(tmp_path, WIDER, provider=provider) as at:
        assert (await at.rig.call("POST", "/x")).problem == "approval_required"
        found = at.versions.newest()
        assert found is not None
        assert (found.number, found.restores, found.has_settings) == (3, 1, True)
    await provider.stop()
