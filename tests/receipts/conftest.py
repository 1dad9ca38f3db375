"""A receipt log on a real database file."""

from __future__ import annotations

import pytest

from proxy.clock import SystemClock
from proxy.db.engine import open_database
from proxy.receipts.log import ReceiptLog


@pytest.fixture
def database(tmp_path):
    engine = open_database(tmp_path / "briefcased.db")
    yield engine
    engine.dispose()


@pytest.fixture
def open_log(database, tmp_path):
    """Opens logs on `database`, as a sidecar does at its start."""

    def open_(*, label="test", resume=False):
        return ReceiptLog.open(database=database, home=tmp_path, label=label, clock=SystemClock(), resume=resume)

    return open_


@pytest.fixture
def decide():
    """The fields of a decision with a new id."""

    def fields(log, decision="allow", **more):
        return {"id": log.new_id(), "decision": decision, "agent": "builder", **more}

    return fields
