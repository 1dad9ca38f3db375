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
from tests.rig.postgres import PASSWORD, postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

KEY = b"k" * 32
EMPTIED = (
    "approval_messages",
    "approval_nonces",
    "approver_keys",
    "approval_grant_votes",
    "approval_grants",
    "approval_votes",
    "approvals",
)


class Hands:
    """Two clocks that tests move; the boot is `boot-1`."""

    def __init__(self) -> None:
        self.wall = 1_764_115_200_000
        self.monotonic = 1000.0

    def wall_ms(self) -> int:
        return self.wall

    def monotonic_s(self) -> float:
        return self.monotonic

    def forward(self, seconds: float) -> None:
        self.wall += int(seconds * 1000)
        self.monotonic += seconds


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
