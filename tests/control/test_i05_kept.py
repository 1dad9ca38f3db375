"""I-05: what of the settings decides is kept with each version, on SQLite as on PostgreSQL, and read back as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.catalog.setting_changes import deciding, wider
from proxy.clock import SystemClock
from proxy.db.engine import open_database
from proxy.db.shared import open_shared
from proxy.policy_versions import Frame, PolicyVersions, digest_of
from proxy.secret import Secret
from proxy.settings import SharedDatabase
from tests.catalog.test_i05_settings import TEXT, settings
from tests.rig.postgres import PASSWORD, postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

SOURCES = (("own.cedar", "permit (principal, action, resource);"),)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        engine = open_database(tmp_path / "briefcased.db")
        yield engine
        engine.dispose()
        return
    with postgres() as server:
        shared = SharedDatabase(host="localhost", port=server.port, ca_bundle=server.ca)
        engine = open_shared(shared, Secret("password", PASSWORD.encode()))
        yield engine
        engine.dispose()


def test_settings_are_read_back_as_they_were_kept(database: Engine) -> None:
    versions, tree = PolicyVersions(database, SystemClock()), deciding(settings(TEXT))
    frame = Frame(confirm=True, settings=tree)
    number = versions.add(
        digest="d", sources=SOURCES, files_digest=digest_of(SOURCES, frame), frame=frame, author="ann", reason="start"
    )
    found = versions.one(number)
    assert found is not None
    assert found.frame == frame
    assert found.has_settings
    assert digest_of(SOURCES, found.frame) == found.files_digest
    assert found.frame.settings is not None
    assert list(wider(found.frame.settings, tree)) == []


def test_a_version_of_before_takes_up_the_settings_once(database: Engine) -> None:
    versions, old = PolicyVersions(database, SystemClock()), Frame(confirm=True)
    number = versions.add(
        digest="d", sources=SOURCES, files_digest=digest_of(SOURCES, old), frame=old, author="ann", reason="start"
    )
    found = versions.one(number)
    assert found is not None
    assert not found.has_settings
    frame = Frame(confirm=True, settings={})  # everything at its default: that is known, and not nothing
    versions.adopt(number, digest_of(SOURCES, frame), frame)
    found = versions.one(number)
    assert found is not None
    assert (found.has_settings, found.frame) == (True, frame)
