"""I-04, I-05: no set of policies lets itself in by making the one before it unreadable, or by a signature of before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from proxy.catalog.loader import load_profile
from proxy.errors import BriefcaseError
from proxy.keys.software import generate
from proxy.policy_change import WaitingError
from tests.control.conftest import POLICIES
from tests.control.test_policy_versions import WIDER, changes, configured
from tests.control.test_widening import NARROWER, place, signed
from tests.rig import running_rig
from tests.rig.provider import Provider
from tests.rig.sidecar import EXAMPLE, HOSTS, OTHER, accounts

if TYPE_CHECKING:
    from pathlib import Path

ABOUT_OTHER = '@id("no-other") forbid (principal, action == Action::"other:any", resource);'
GUARDED = "hosts: [{{host: api.example.test, port: {port}, paths: [/vault]}}]"
NAME = "name: guard"
ONLY_EXAMPLE = {"providers": {"example": accounts(api_key="env:EXAMPLE_API_KEY")}}


def settings(folder: Path, cedar: str, **policies: Any) -> dict[str, Any]:
    (folder / "own.cedar").write_text(cedar)
    return {"policies": {"files": [str(folder / "own.cedar")], "widening": "confirm", **policies}}


@pytest.mark.parametrize("own_key", [False, True])
async def test_i05_what_makes_the_set_before_it_unreadable_does_not_say_how_it_gets_in(
    tmp_path: Path, own_key: bool
) -> None:
    provider = Provider(tmp_path, HOSTS)
    await provider.start()
    async with running_rig(
        tmp_path, settings=settings(tmp_path, POLICIES + ABOUT_OTHER), author="ann", provider=provider
    ):
        pass
    given: dict[str, Any] = {"widening": "tell"}
    if own_key:
        signer = generate("Ed25519")
        (tmp_path / "signer.jwk").write_text(httpx.Response(200, json=dict(signer.public.jwk)).text)
        given = {"signers": [str(tmp_path / "signer.jwk")], "signature": str(tmp_path / "policies.sig")}
        (tmp_path / "apart").mkdir()
        with_key = settings(tmp_path, WIDER, **given)
        async with running_rig(tmp_path / "apart", settings={**with_key, **ONLY_EXAMPLE}, provider=provider) as rig:
            signed(tmp_path, configured(rig, tmp_path / "own.cedar", WIDER), signer, 1)
    with pytest.raises(BriefcaseError, match="do not fit this configuration"):
        async with running_rig(
            tmp_path, settings={**settings(tmp_path, WIDER, **given), **ONLY_EXAMPLE}, author="ann", provider=provider
        ):
            pass
    await provider.stop()


async def test_i05_a_stage_that_cannot_be_read_any_more_does_not_end_unseen(tmp_path: Path) -> None:
    provider = Provider(tmp_path, HOSTS)
    await provider.start()
    (tmp_path / "next.cedar").write_text(NARROWER + ABOUT_OTHER)
    stage = {"candidate": {"files": [str(tmp_path / "next.cedar")], "percent": 100}}
    async with running_rig(
        tmp_path, settings=settings(tmp_path, POLICIES, **stage), author="ann", provider=provider
    ) as rig:
        assert (await rig.call("GET", "/slow")).problem == "policy_denied"
    with pytest.raises(BriefcaseError, match="do not fit this configuration"):
        async with running_rig(
            tmp_path, settings={**settings(tmp_path, POLICIES), **ONLY_EXAMPLE}, author="ann", provider=provider
        ):
            pass
    await provider.stop()


async def test_i04_a_signature_of_before_counts_no_more_whether_or_not_it_was_needed(tmp_path: Path) -> None:
    signer = generate("Ed25519")
    (tmp_path / "signer.jwk").write_text(httpx.Response(200, json=dict(signer.public.jwk)).text)
    policies = {"signers": [str(tmp_path / "signer.jwk")], "signature": str(tmp_path / "policies.sig")}
    async with place(tmp_path, WIDER, **policies) as at:  # the very first set is in force without anybody's yes
        sidecar = at.rig.sidecar
        wide = configured(at.rig, at.file, WIDER)
        signed(tmp_path, wide, signer, 5)
        old = (tmp_path / "policies.sig").read_text()
        narrow = configured(at.rig, at.file, POLICIES)
        signed(tmp_path, narrow, signer, 6)  # it narrows, and would not have needed it
        await sidecar.reload(narrow)
        assert (await changes(at.rig))[-1]["serial"] == 6
        (tmp_path / "policies.sig").write_text(old)
        await at.waits(configured(at.rig, at.file, WIDER))
        assert (await at.rig.call("POST", "/x")).problem == "approval_required"

        signed(tmp_path, narrow, signer, 8)  # signed once more while it is in force
        again = (tmp_path / "policies.sig").read_text()
        await sidecar.reload(configured(at.rig, at.file, POLICIES))
        await sidecar.reload(configured(at.rig, at.file, NARROWER))
        signed(tmp_path, configured(at.rig, at.file, WIDER), signer, 7)
        await at.waits(configured(at.rig, at.file, WIDER))
        (tmp_path / "policies.sig").write_text(again)
        await at.waits(configured(at.rig, at.file, POLICIES))


async def test_i05_a_profile_that_leaves_its_calls_to_another_one_waits(tmp_path: Path) -> None:
    guard = OTHER.replace("hosts: [{{host: other.example.test, port: {port}}}]", GUARDED).replace("name: other", NAME)
    guard = guard.replace("action: write", "action: admin")
    profiles = {"example": EXAMPLE, "guard": guard}
    given = {"providers": {**ONLY_EXAMPLE["providers"], "guard": accounts(token="env:OTHER_TOKEN")}}
    async with running_rig(
        tmp_path, settings={**settings(tmp_path, POLICIES), **given}, author="ann", profiles=profiles
    ) as rig:
        assert (await rig.call("GET", "/vault/x")).problem == "policy_denied"
        file = tmp_path / "guard.yaml"
        text = file.read_text()
        for changed in (text.replace("[/vault]", "[/vault/deep]"), None):
            configuration = rig.configuration
            if changed is not None:
                file.write_text(changed)
                loaded = {**configuration.profiles, "guard": load_profile(file)}
                configuration = replace(configuration, profiles=loaded, policies=None)
            else:
                only = {"example": configuration.settings.providers["example"]}
                parsed = configuration.settings.model_copy(update={"providers": only})
                configuration = replace(configuration, settings=parsed, policies=None)
            with pytest.raises(WaitingError) as waiting:
                await rig.sidecar.reload(configuration)
            why = "guard: has less of host api.example.test, so calls there may be taken for others"
            assert why in waiting.value.version.waits
        assert (await rig.call("GET", "/vault/x")).problem == "policy_denied"
