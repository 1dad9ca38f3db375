"""I-04, I-05: sets of policies are kept, a broken one changes nothing, a widening is told, an earlier one can be had back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from sqlalchemy import text

from proxy.catalog.policies import load_policies
from proxy.clock import SystemClock
from proxy.db.engine import DATABASE, open_database, writing
from proxy.errors import BriefcaseError, ConfigError
from proxy.policy_versions import PolicyVersions
from tests.control.conftest import POLICIES
from tests.rig import running_rig

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.catalog.configuration import Configuration
    from tests.rig import Rig

WIDER = (
    POLICIES
    + """
@id("all-free") permit (principal, action == Action::"callWithoutApproval", resource);
@id("deletes") permit (principal, action == Action::"admin", resource);
"""
)
NO_CHANGES = """
CREATE TRIGGER no_changes BEFORE INSERT ON receipts WHEN NEW.kind = 'change' BEGIN SELECT RAISE(ABORT, 'full'); END
"""
FROZEN = '@id("reads") permit (principal, action == Action::"read", resource);'


def configured(rig: Rig, file: Path, cedar: str) -> Configuration:
    """As `load_configuration` would make it, once the file says `cedar`."""
    file.write_text(cedar)
    configuration = rig.configuration
    return replace(configuration, policies=load_policies(configuration.settings, configuration.profiles))


async def changes(rig: Rig) -> list[dict[str, Any]]:
    await rig.sidecar.receipts.flush()
    database = open_database(rig.home / DATABASE)
    try:
        with database.connect() as connection:
            rows = connection.execute(text("SELECT body FROM receipts WHERE kind = 'change' ORDER BY rowid")).scalars()
            return [orjson.loads(row) for row in rows]
    finally:
        database.dispose()


async def test_i05_versions_are_kept_told_and_brought_back(tmp_path: Path) -> None:
    file = tmp_path / "own.cedar"
    file.write_text(POLICIES)
    settings = {"policies": {"files": [str(file)]}, "approvals": {"hold_s": 0}}
    async with running_rig(tmp_path, settings=settings, author="ann") as rig:
        sidecar = rig.sidecar
        database = open_database(rig.home / DATABASE)
        versions = PolicyVersions(database, SystemClock())
        assert (await rig.call("POST", "/x")).problem == "approval_required"

        await sidecar.reload(configured(rig, file, WIDER))
        assert (await rig.call("POST", "/x")).status == 200
        first, second = await changes(rig)
        assert (first["version"], first["author"], first["reason"], first["before"]) == (1, "ann", "start", None)
        assert (second["before"], second["added"]) == (first["digest"], "all-free deletes")
        assert "tester example:write (example/main): approval -> allow" in second["widenings"]
        # The account itself allows no admin operations: no policy can widen that, and none is told.
        assert "example:admin" not in second["widenings"]

        await sidecar.reload(configured(rig, file, WIDER))
        assert len(await changes(rig)) == 2  # the same again is no new version

        one = versions.one(1)
        newest = versions.newest()
        assert one is not None
        assert newest is not None
        back = versions.add(
            digest=one.digest, sources=one.sources, files_digest=newest.files_digest, frame=newest.frame, author="bob", reason="too wide",
            restores=1,
        )  # fmt: skip
        await sidecar.reload(configured(rig, file, WIDER))
        assert (await rig.call("POST", "/y")).problem == "approval_required"
        third = (await changes(rig))[2]
        assert (third["version"], third["restores"], third["author"], third["reason"]) == (back, 1, "bob", "too wide")
        assert (third["digest"], third["widened"], third["removed"]) == (first["digest"], 0, "all-free deletes")

        await sidecar.reload(configured(rig, file, WIDER + "\n// the same files, once more changed\n"))
        assert (await rig.call("POST", "/z")).status == 200  # other files end a rollback
        assert [version.restores for version in versions.every()] == [None, None, 1, None]
        assert await rig.problems() == ()
        database.dispose()


async def test_i05_a_widening_between_two_runs_is_told_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "own.cedar"
    settings = {"policies": {"files": [str(file)]}}
    for cedar in (POLICIES, WIDER):
        file.write_text(cedar)
        async with running_rig(tmp_path, settings=settings, author="ann") as rig:
            found = await changes(rig)
    assert [one["reason"] for one in found] == ["start", "start"]
    assert found[1]["widened"] > 0


async def test_i04_a_broken_file_leaves_the_old_policies_in_force(tmp_path: Path) -> None:
    file = tmp_path / "own.cedar"
    file.write_text(POLICIES)
    settings = {"policies": {"files": [str(file)]}, "approvals": {"hold_s": 0}}
    async with running_rig(tmp_path, settings=settings, author="ann") as rig:
        version = rig.sidecar.pipeline.generation.policies.version
        refused = 0
        for end in range(0, len(WIDER), 23):  # truncated anywhere
            try:
                await rig.sidecar.reload(configured(rig, file, WIDER[:end] + "permit ("))
            except ConfigError as error:
                refused += 1
                await rig.sidecar.rejected(len(error.findings))
        assert refused == len(range(0, len(WIDER), 23))
        assert rig.sidecar.pipeline.generation.policies.version == version
        assert (await rig.call("POST", "/x")).problem == "approval_required"
        assert [one["change"] for one in await changes(rig)] == ["policies", *["config_rejected"] * refused]


async def test_what_cannot_be_recorded_is_not_put_in_force(tmp_path: Path) -> None:
    file = tmp_path / "own.cedar"
    file.write_text(FROZEN)
    async with running_rig(tmp_path, settings={"policies": {"files": [str(file)]}}, author="ann") as rig:
        version = rig.sidecar.pipeline.generation.policies.version
        wanted = configured(rig, file, WIDER)
        database = open_database(rig.home / DATABASE)
        with writing(database) as connection:
            connection.exec_driver_sql(NO_CHANGES)
        database.dispose()
        with pytest.raises(BriefcaseError, match="cannot be recorded"):
            await rig.sidecar.reload(wanted)
        assert rig.sidecar.pipeline.generation.policies.version == version


async def test_a_set_that_does_not_fit_any_more_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "own.cedar"
    file.write_text(FROZEN)
    async with running_rig(tmp_path, settings={"policies": {"files": [str(file)]}}, author="ann") as rig:
        database = open_database(rig.home / DATABASE)
        versions = PolicyVersions(database, SystemClock())
        newest = versions.newest()
        assert newest is not None
        gone = (("old.cedar", 'permit (principal, action == Action::"example:gone", resource);'),)
        versions.add(
            digest="-",
            sources=gone,
            files_digest=newest.files_digest,
            frame=newest.frame,
            author="bob",
            reason="back",
            restores=1,
        )
        with pytest.raises(BriefcaseError, match="version 1, which were brought back, do not fit"):
            await rig.sidecar.reload(configured(rig, file, FROZEN))
        database.dispose()
