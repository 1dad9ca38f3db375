"""I-05, J-06: where the gate meets the API and the profiles that come with the sidecar."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest

from proxy.catalog.bundle import frame_of
from proxy.catalog.configuration import Configuration
from proxy.catalog.loader import Shelf, load_profile
from proxy.catalog.policies import load_policies
from proxy.errors import BriefcaseError
from proxy.settings import Settings
from proxy.trial.widening import difference_of
from tests.control.conftest import POLICIES
from tests.control.test_i05_gates import GUARDED, NAME, ONLY_EXAMPLE
from tests.control.test_i05_gates import settings as policies_of
from tests.control.test_i05_settings import changed, of_before, unmanaged
from tests.control.test_policy_versions import WIDER, configured
from tests.control.test_widening import place
from tests.rig import running_rig
from tests.rig.provider import Provider
from tests.rig.sidecar import EXAMPLE, HOSTS, OTHER, accounts

if TYPE_CHECKING:
    from pathlib import Path


async def test_j06_of_settings_that_wait_an_operator_of_one_tenant_is_told_no_names(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        policies = configured(at.rig, at.file, WIDER).policies
        late = {"late": {"accounts": ["other/*"], "groups": ["secret-project"]}}
        await at.waits(replace(changed(at.rig, agents=late, unmatched="pass"), policies=policies))
        assert at.rig.sidecar.api is not None
        host, port = at.rig.sidecar.api
        told = {}
        for who in ("bob", "cat"):
            headers = {"Authorization": f"Bearer {at.tokens[who]}"}
            async with httpx.AsyncClient(headers=headers, trust_env=False, verify=at.rig.trust()) as client:
                answer = await client.get(f"http://{host}:{port}/api/v1/policies/pending")
            (told[who],) = [one["wider"] for one in answer.json()["pending"]]
        assert {"agents.late is new", "unmatched: refuse -> pass"} <= set(told["bob"])
        policies_alone = [one for one in told["bob"] if one.startswith("policy ")]
        assert policies_alone
        assert told["cat"] == [*policies_alone, "settings or profiles may let more through"]


def with_providers(**providers: Any) -> Settings:
    return Settings.model_validate_json(orjson.dumps({"version": 1, "providers": providers}))


async def wider_by(before: Settings, after: Settings, own: Shelf | None = None) -> tuple[str, ...]:
    """What the gate says of it; `own`: with these profiles beside those of the sidecar afterwards."""
    old, new = Configuration(before, Shelf()), Configuration(after, own or Shelf())
    frames = [frame_of(one.settings, one.profiles, None) for one in (old, new)]
    sets = [load_policies(one.settings, one.profiles) for one in (old, new)]
    return (await difference_of(*sets, new, (), now_ms=0, frames=(frames[0], frames[1]))).wider


async def test_i05_a_provider_that_leaves_its_calls_to_another_one_waits(tmp_path: Path) -> None:
    """Notion's files lie at an exact host, which S3's wildcard of the profile `aws` covers as well."""
    aws = {"accounts": {"main": {"secrets": {"access_key_id": "env:A", "secret_access_key": "env:B"}}}}
    notion = {"accounts": {"main": {"secrets": {"token": "env:C"}}}}
    stripe = {"accounts": {"main": {"secrets": {"key": "env:D"}}}}
    before, after = with_providers(aws=aws, notion=notion, stripe=stripe), with_providers(aws=aws)
    host = "prod-files-secure.s3.us-west-2.amazonaws.com"
    said = (f"notion: has less of host {host}, so calls there may be taken for others",)
    assert await wider_by(before, after) == said
    assert await wider_by(before, with_providers(aws=aws, notion=notion)) == ()

    file = tmp_path / "notion.yaml"
    data = Shelf()["notion"].model_dump(mode="json", by_alias=True, exclude_defaults=True)
    hosts = [one for one in data["hosts"] if one["host"] != host]
    operations = [one for one in data["operations"] if host not in one.get("hosts", ())]
    file.write_bytes(orjson.dumps({**data, "hosts": hosts, "operations": operations}))
    own = Shelf({"notion": load_profile(file)})
    assert said[0] in await wider_by(before, before, own)


async def test_i05_a_start_does_not_leave_the_calls_of_a_provider_that_is_gone_to_another_one(tmp_path: Path) -> None:
    provider = Provider(tmp_path, HOSTS)
    await provider.start()
    guard = OTHER.replace("hosts: [{{host: other.example.test, port: {port}}}]", GUARDED).replace("name: other", NAME)
    profiles = {"example": EXAMPLE, "guard": guard.replace("action: write", "action: admin")}
    both = {"providers": {**ONLY_EXAMPLE["providers"], "guard": accounts(token="env:OTHER_TOKEN")}}
    said = {**both, **policies_of(tmp_path, POLICIES)}
    async with running_rig(tmp_path, settings=said, author="ann", profiles=profiles, provider=provider) as rig:
        assert (await rig.call("GET", "/vault/x")).problem == "policy_denied"
    with pytest.raises(BriefcaseError, match=r"guard: has less of host api\.example\.test"):
        async with running_rig(
            tmp_path, settings={**said, **ONLY_EXAMPLE}, author="ann", profiles=profiles, provider=provider
        ) as rig:
            assert (await rig.call("GET", "/vault/x")).problem == "policy_denied"
    await provider.stop()


async def test_i05_a_version_that_waited_through_an_upgrade_brings_no_settings_in_unseen(tmp_path: Path) -> None:
    """Whoever confirms it has seen what its policies allow, and nothing of settings, which were not kept then."""
    provider = Provider(tmp_path, HOSTS)
    await provider.start()
    async with place(tmp_path, provider=provider) as at:
        tokens = at.tokens
    of_before(tmp_path / "home", POLICIES)
    async with place(tmp_path, WIDER, provider=provider) as at:
        found = at.versions.waiting()
        assert found is not None
    of_before(tmp_path / "home", WIDER)
    async with place(tmp_path, WIDER, provider=provider) as at:
        rig, at.tokens = at.rig, tokens
        first = at.versions.waiting()
        assert first is not None
        assert not [one for one in first.waits if "unmatched" in one]
        wide = replace(changed(rig, unmatched="pass"), policies=configured(rig, at.file, WIDER).policies)
        second = (await at.waits(wide)).version
        assert second.number > first.number
        assert "unmatched: refuse -> pass" in second.waits
        assert (await at.confirm("bob", first.number)).status_code == 404
        narrow = replace(changed(rig, unmatched="pass"), policies=configured(rig, at.file, POLICIES).policies)
        assert (await at.waits(narrow)).version.waits == ("unmatched: refuse -> pass",)
        assert not await unmanaged(rig)
    await provider.stop()


ASKING = {
    "mode": (
        {"mode": "staging"},
        'context.mode == "staging"',
        "mode: is another one, which policies ask for",
    ),
    "left": (
        {"budgets": [{"name": "vast", "limit": "999999.00"}]},
        "context has budget_left_microusd && context.budget_left_microusd > 5",
        "budgets[vast] is new, and policies ask what is left",
    ),
}


@pytest.mark.parametrize("which", sorted(ASKING))
async def test_i05_what_only_restricts_waits_where_policies_permit_by_it(tmp_path: Path, which: str) -> None:
    blocks, asked, said = ASKING[which]
    cedar = (
        '@id("all") permit (principal, action == Action::"call", resource);'
        '@id("free") permit (principal, action in [Action::"callWithoutApproval",'
        f' Action::"callWithoutStrongApproval"], resource) when {{ {asked} }};'
    )
    provider = Provider(tmp_path, HOSTS)
    await provider.start()
    async with place(tmp_path, cedar, provider=provider) as at:
        assert (await at.rig.call("GET", "/x")).problem == "approval_required"
        assert said in (await at.waits(changed(at.rig, **blocks))).version.waits
        assert (await at.rig.call("GET", "/x")).problem == "approval_required"
    with pytest.raises(BriefcaseError, match=re.escape(said)):
        async with place(tmp_path, cedar, provider=provider, also=blocks) as at:
            assert (await at.rig.call("GET", "/x")).problem == "approval_required"
    async with place(tmp_path, cedar, provider=provider) as at:  # and with the files of then it starts
        assert (await at.rig.call("GET", "/x")).problem == "approval_required"
    await provider.stop()
