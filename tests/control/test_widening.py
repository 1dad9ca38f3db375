"""I-04, I-05: what allows more than the policies in force waits for a second operator, or comes with a signature."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from proxy.catalog.bundle import Signature, frame_of, statement
from proxy.catalog.loader import load_profile
from proxy.clock import SystemClock
from proxy.db.engine import DATABASE, open_database
from proxy.errors import BriefcaseError
from proxy.identity.operators import add_operator
from proxy.keys.public import base64url
from proxy.keys.software import generate
from proxy.model import Operator, Role
from proxy.policy_change import WaitingError
from proxy.policy_settings import Candidate
from proxy.policy_versions import PolicyVersions, digest_of
from tests.control.conftest import POLICIES
from tests.control.test_policy_versions import WIDER, changes, configured
from tests.rig import running_rig
from tests.rig.provider import Provider
from tests.rig.sidecar import EXAMPLE, HOSTS, OTHER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from proxy.catalog.configuration import Configuration
    from proxy.keys.software import SoftwareSigner
    from tests.rig import Rig

NARROWER = POLICIES.replace('@id("writes") permit', '@id("writes") @advice("Ask first.") permit') + (
    '@id("no-slow") forbid (principal, action, resource == Operation::"example:slow");'
)
EVIL = "hosts: [{{host: api.example.test, port: {port}}}, {{host: wild.example.test, port: {port}}}]"
WIDE_PROFILE = EXAMPLE.replace("hosts: [{{host: api.example.test, port: {port}}}]", EVIL)


@dataclass
class Place:
    """A sidecar run by `ann`, with operators `ann` and `bob`, and `cat` of one tenant; tokens by name."""

    rig: Rig
    file: Path
    tokens: dict[str, str]
    versions: PolicyVersions

    async def confirm(self, who: str, version: int) -> httpx.Response:
        return await self._posted(who, "confirmations", version=version)

    async def back(self, who: str, version: int) -> dict[str, Any]:
        answer = await self._posted(who, "rollback", version=version, reason="back")
        assert answer.status_code == 200, answer.text
        value: dict[str, Any] = answer.json()
        return value

    async def _posted(self, who: str, what: str, **body: Any) -> httpx.Response:
        assert self.rig.sidecar.api is not None
        host, port = self.rig.sidecar.api
        headers = {"Authorization": f"Bearer {self.tokens[who]}"}
        url, trust = f"http://{host}:{port}", self.rig.trust()
        async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, verify=trust) as client:
            return await client.post(f"/api/v1/policies/{what}", json=body)

    async def waits(self, configuration: Configuration) -> WaitingError:
        with pytest.raises(WaitingError) as waiting:
            await self.rig.sidecar.reload(configuration)
        return waiting.value


@asynccontextmanager
async def place(
    folder: Path,
    cedar: str = POLICIES,
    *,
    profiles: Mapping[str, str] | None = None,
    provider: Provider | None = None,
    also: Mapping[str, Any] | None = None,
    **policies: Any,
) -> AsyncIterator[Place]:
    """`also` are further blocks of the settings; `policies` says more of its own."""
    file = folder / "own.cedar"
    file.write_text(cedar)
    settings = {
        "listeners": {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0", "api": "127.0.0.1:0"},
        "policies": {"files": [str(file)], "widening": "confirm", **policies},
        "approvals": {"hold_s": 0},
        **(also or {}),
    }
    async with running_rig(folder, settings=settings, author="ann", profiles=profiles, provider=provider) as rig:
        database = open_database(rig.home / DATABASE)
        clock = SystemClock()
        tokens = {}
        for name, tenant in (("ann", None), ("bob", None), ("cat", "acme")):
            try:
                tokens[name] = add_operator(database, name, Role.ADMIN, clock=clock, tenant=tenant).token
            except BriefcaseError:  # a second run on the same database
                break
        try:
            yield Place(rig, file, tokens, PolicyVersions(database, clock))
        finally:
            database.dispose()


async def test_i05_a_widening_waits_until_another_operator_confirms_it(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        rig, sidecar = at.rig, at.rig.sidecar
        wide = configured(rig, at.file, WIDER)
        waiting = await at.waits(wide)
        assert "tester example:write (example/main): approval -> allow" in waiting.version.waits
        assert "policy deletes may allow more" in waiting.version.waits  # no account may delete: the matrix is silent
        assert (await rig.call("POST", "/x")).problem == "approval_required"
        assert sidecar.details()["waiting"] == "version 2 of the policies is not confirmed"
        assert sidecar.gauges()["policies_waiting"] == 1
        await at.waits(wide)
        assert [one["change"] for one in await changes(rig)] == ["policies", "policies_pending"]  # told once

        author = Operator("own/00u1", Role.ADMIN, Role.ADMIN, None, "session:x", "ann")  # who logged in, and is ann
        assert sidecar._enforcing.unfit(waiting.version, author)
        assert not sidecar._enforcing.unfit(waiting.version, replace(author, user="bob"))
        for who, status, slug in (("ann", 403, "own_request"), ("cat", 403, "forbidden")):
            refused = await at.confirm(who, 2)
            assert (refused.status_code, refused.json()["type"]) == (status, f"urn:briefcased:api:{slug}")
        assert (await at.confirm("bob", 1)).status_code == 404
        await at.waits(wide)

        assert (await at.confirm("bob", 2)).status_code == 200
        await sidecar.confirmation()
        await sidecar.reload(wide)
        assert (await rig.call("POST", "/x")).status == 200
        assert "waiting" not in sidecar.details()
        told = await changes(rig)
        assert [one["change"] for one in told][2:] == ["policies_confirm", "policies_confirm", "policies"]
        assert (told[2]["by"], told[2]["refused"], told[3]["by"]) == ("ann", "own_request", "bob")
        assert (told[4]["version"], told[4]["author"], told[4]["confirmed_by"]) == (2, "ann", "bob")
        assert await rig.problems() == ()


async def test_i05_what_narrows_takes_effect_at_once(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        await at.rig.sidecar.reload(configured(at.rig, at.file, NARROWER))
        assert (await at.rig.call("GET", "/slow")).problem == "policy_denied"
        assert [one["change"] for one in await changes(at.rig)] == ["policies", "policies"]


async def test_i05_a_start_runs_with_what_was_confirmed_last(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    provider = Provider(tmp_path, HOSTS)
    await provider.start()
    async with place(tmp_path, provider=provider):
        pass
    wide = {"example": WIDE_PROFILE, "other": OTHER}
    async with place(tmp_path, WIDER, profiles=wide, provider=provider, observe=True) as at:
        generation = at.rig.sidecar.pipeline.generation
        assert "deletes" not in generation.policies.policies
        assert [rule.host for rule in generation.catalog.profiles["example"].hosts] == ["api.example.test"]
        assert at.rig.sidecar.details()["policies"] == "enforced"
        assert at.rig.sidecar.waiting == 2
        assert "runs with policies of version 1: version 2 of the policies allows more" in caplog.text
        assert (await at.rig.call("POST", "/x")).problem == "approval_required"
        found = at.versions.waiting()
        assert found is not None
        assert "policies.observe: policies would only be observed" in found.waits
        assert any(one.startswith("example: host wild.example.test:") for one in found.waits)
        at.versions.confirm(2, "bob")
    async with place(tmp_path, WIDER, profiles=wide, provider=provider, observe=True) as at:
        assert at.rig.sidecar.waiting is None
        assert at.rig.sidecar.details()["policies"] == "observed"
    await provider.stop()


async def test_i05_a_profile_that_widens_waits_like_policies(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        example = tmp_path / "example.yaml"
        text = example.read_text()
        profiles = {**at.rig.configuration.profiles}
        for old, new, why in (
            ("api.example.test, port", "wild.example.test, port", "example: host wild.example.test:"),
            ('path: "/**", action: admin', 'path: "/**", action: read', "example:admin: admin became read"),
            ("strip_query: [key]", "strip_query: []", "example: strip_query changed"),
        ):
            example.write_text(text.replace(old, new))
            profiles["example"] = load_profile(example)
            changed = replace(at.rig.configuration, profiles=profiles, policies=None)
            assert any(one.startswith(why) for one in (await at.waits(changed)).version.waits)
        assert (await at.rig.call("GET", "/x")).status == 200
        example.write_text(text.replace("title: Example", "title: The same"))
        profiles["example"] = load_profile(example)
        await at.rig.sidecar.reload(replace(at.rig.configuration, profiles=profiles, policies=None))


async def test_i05_a_rollback_that_widens_waits_too(tmp_path: Path) -> None:
    async with place(tmp_path, WIDER) as at:
        narrow = configured(at.rig, at.file, POLICIES)
        await at.rig.sidecar.reload(narrow)
        first, newest = at.versions.one(1), at.versions.newest()
        assert first is not None
        assert newest is not None
        number = at.versions.add(
            digest=first.digest, sources=first.sources, files_digest=newest.files_digest, frame=newest.frame,
            author="bob", reason="back", restores=1,
        )  # fmt: skip
        assert (await at.waits(narrow)).version.number == number
        assert (await at.confirm("bob", number)).status_code == 403  # who brings it back does not confirm it
        assert (await at.rig.call("POST", "/x")).problem == "approval_required"
        assert (await at.confirm("ann", number)).status_code == 200
        await at.rig.sidecar.reload(narrow)
        assert (await at.rig.call("POST", "/x")).status == 200


async def test_i05_a_rollback_outlasts_a_restart_and_ends_with_other_files(tmp_path: Path) -> None:
    provider = Provider(tmp_path, HOSTS)
    await provider.start()
    async with place(tmp_path, provider=provider) as at:
        await at.waits(configured(at.rig, at.file, WIDER))
        at.versions.confirm(2, "bob")
        await at.rig.sidecar.reload(configured(at.rig, at.file, WIDER))
        assert await at.back("ann", 1) == {"version": 3, "restores": 1, "state": "in_force", "wider": []}
        tokens = at.tokens
    async with place(tmp_path, WIDER, provider=provider) as at:  # the same files as when it was brought back
        assert (await at.rig.call("POST", "/x")).problem == "approval_required"
        assert len(at.versions.every()) == 3
    async with place(tmp_path, WIDER + "// newer", provider=provider, observe=True) as at:
        at.tokens = tokens
        assert at.rig.sidecar.waiting == 4
        assert await at.back("bob", 1) == {"version": 5, "restores": 1, "state": "in_force", "wider": []}
        assert at.rig.sidecar.details()["policies"] == "enforced"  # of what waited nothing has come in with it
        held = await at.back("ann", 2)
        assert (held["version"], held["state"]) == (6, "waiting")
        assert (await at.confirm("ann", 6)).status_code == 403
        assert (await at.confirm("bob", 6)).status_code == 200
        assert (await at.rig.call("POST", "/x")).status == 200
        assert at.rig.sidecar.details()["policies"] == "enforced"
        assert await at.rig.problems() == ()
    async with place(tmp_path, WIDER + "// newer", provider=provider, observe=True) as at:  # asked for anew
        found = at.versions.waiting()
        assert found is not None
        assert (found.number, found.waits) == (7, ("policies.observe: policies would only be observed",))
        assert (await at.rig.call("POST", "/x")).status == 200  # by the sixth
    await provider.stop()


async def test_i05_to_only_tell_from_now_on_waits_as_well(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        settings = at.rig.configuration.settings
        told = settings.model_copy(update={"policies": settings.policies.model_copy(update={"widening": "tell"})})
        changed = replace(configured(at.rig, at.file, WIDER), settings=told)
        assert "policies.widening: what widens would only be told" in (await at.waits(changed)).version.waits


def staged(at: Place, cedar: str, **stage: Any) -> Configuration:
    """With a candidate that says `cedar`."""
    file = at.file.with_name("next.cedar")
    file.write_text(cedar)
    candidate = Candidate(files=(file,), **stage)
    settings = at.rig.configuration.settings
    policies = settings.policies.model_copy(update={"candidate": candidate})
    return replace(at.rig.configuration, settings=settings.model_copy(update={"policies": policies}), policies=None)


async def test_i05_a_candidate_waits_from_the_moment_it_decides_for_somebody(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        sidecar = at.rig.sidecar
        await sidecar.reload(staged(at, WIDER))  # asked beside, it allows nobody anything
        assert len(await changes(at.rig)) == 1
        waiting = await at.waits(staged(at, WIDER, agents=("tester",)))
        assert waiting.version.waits == tuple(
            f"policies.candidate: policy {one} may allow more to some" for one in ("all-free", "deletes")
        )
        assert (await at.rig.call("POST", "/x")).problem == "approval_required"
        assert (await at.confirm("bob", waiting.version.number)).status_code == 200
        await sidecar.reload(staged(at, WIDER, agents=("tester",)))
        assert (await at.rig.call("POST", "/x")).status == 200

        await sidecar.reload(staged(at, NARROWER, agents=("tester",)))
        assert (await at.rig.call("GET", "/slow")).problem == "policy_denied"
        back = await at.waits(configured(at.rig, at.file, POLICIES))  # for whom it was narrower, all is wider now
        assert back.version.waits == ("policies.candidate: policy no-slow may allow more to some",)


async def test_i05_a_start_and_a_rollback_keep_and_end_a_stage(tmp_path: Path) -> None:
    provider = Provider(tmp_path, HOSTS)
    await provider.start()
    (tmp_path / "next.cedar").write_text(NARROWER)
    stage = {"candidate": {"files": [str(tmp_path / "next.cedar")], "percent": 100}}
    async with place(tmp_path, provider=provider, **stage) as at:
        assert (await at.rig.call("GET", "/slow")).problem == "policy_denied"
        version = at.versions.newest()
        assert version is not None
        assert version.frame is not None
        assert version.frame.stage == {"agents": [], "groups": [], "percent": 100}
    async with place(tmp_path, WIDER, provider=provider, observe=True) as at:  # waits: what was in force goes on
        assert (await at.rig.call("GET", "/slow")).problem == "policy_denied"
        assert at.rig.sidecar.waiting == 2
        at.versions.withdraw(2)
    async with place(tmp_path, provider=provider, **stage) as at:
        at.versions.add(
            digest=version.digest, sources=version.sources, files_digest=version.files_digest,
            frame=version.frame.without_candidate(), author="bob", reason="back", restores=1,
        )  # fmt: skip
        configuration = replace(at.rig.configuration, policies=None)
        number = (await at.waits(configuration)).version.number  # the candidate had forbidden more
        at.versions.confirm(number, "ann")
        await at.rig.sidecar.reload(configuration)
        assert (await at.rig.call("GET", "/slow")).status == 200
    await provider.stop()


def signed(folder: Path, configuration: Configuration, signer: SoftwareSigner, serial: int) -> None:
    own, rollout = configuration.deciding()
    frame = frame_of(configuration.settings, configuration.profiles, rollout)
    text = statement(digest_of(own.sources, frame), serial)
    made = Signature(key=signer.public.thumbprint, serial=serial, signature=base64url(signer.signature(text)))
    (folder / "policies.sig").write_text(made.model_dump_json())


@pytest.mark.parametrize("algorithm", ["Ed25519", "ES256"])
async def test_i04_i05_a_signed_bundle_needs_nobody_and_an_older_one_does_not_come_back(
    tmp_path: Path, algorithm: str
) -> None:
    signer, stranger = generate(algorithm), generate(algorithm)
    (tmp_path / "signer.jwk").write_text(httpx.Response(200, json=dict(signer.public.jwk)).text)
    policies = {"signers": [str(tmp_path / "signer.jwk")], "signature": str(tmp_path / "policies.sig")}
    async with place(tmp_path, **policies) as at:
        sidecar, wide = at.rig.sidecar, configured(at.rig, at.file, WIDER)
        for serial, key, of in ((5, stranger, wide), (5, signer, at.rig.configuration)):
            signed(tmp_path, configured(at.rig, at.file, POLICIES) if of is not wide else wide, key, serial)
            await at.waits(configured(at.rig, at.file, WIDER))
        signed(tmp_path, wide, signer, 5)
        await sidecar.reload(wide)
        assert (await at.rig.call("POST", "/x")).status == 200
        last = (await changes(at.rig))[-1]
        assert (last["confirmed_by"], last["serial"]) == (f"key:{signer.public.thumbprint}", 5)

        await sidecar.reload(configured(at.rig, at.file, POLICIES))  # narrower: its signature is no matter
        await at.waits(configured(at.rig, at.file, WIDER))  # signed, and older than what was in force
        signed(tmp_path, wide, signer, 6)
        await sidecar.reload(configured(at.rig, at.file, WIDER))
