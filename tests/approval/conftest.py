"""Approvals on SQLite, and on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.approval.store import ApprovalStore
from proxy.db.engine import open_database
from proxy.db.sealing import Seal
from proxy.db.shared import open_shared
from proxy.secret import Secret
from proxy.settings import SharedDatabase
from tests.approval.hands import EMPTIED, KEY, Hands
from tests.rig.postgres import PASSWORD, postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture(scope="session")
def server() -> Iterator[object]:
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        engine = open_database(tmp_path / "briefcased.db")
    else:
        server = request.getfixturevalue("server")
        settings = SharedDatabase(host="localhost", port=server.port, ca_bundle=server.ca)
        engine = open_shared(settings, Secret("password", PASSWORD.encode()))
        with engine.begin() as connection:
            for table in EMPTIED:
                connection.exec_driver_sql(f"DELETE FROM {table}")
    yield engine
    engine.dispose()


@pytest.fixture
def store(database: Engine, hands: Hands) -> ApprovalStore:
    return ApprovalStore(database, Seal(KEY), hands, boot="boot-1")
