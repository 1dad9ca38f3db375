"""docs/threats.md has a row for each threat that the control plane answers, and the tests it names carry the row's id."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs import pages

ROOT = Path(__file__).parents[2]
COUNTS = {"H": 12, "I": 16, "J": 20, "K": 12}
ROWS = [row for section in COUNTS for row in pages.table(pages.text("threats.md"), section)]


def test_every_threat_has_its_row():
    assert [row[0] for row in ROWS] == [
        f"{letter}-{n:02}" for letter, count in COUNTS.items() for n in range(1, count + 1)
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_its_tests_carry_its_id(row):
    id_, _, named = row
    carried = re.compile(rf"\b{id_}\b|_{id_.replace('-', '_?')}(?![0-9])", re.IGNORECASE)
    files = re.findall(r"`([^`]+)`", named)
    assert files
    assert [file for file in files if not carried.search((ROOT / file).read_text())] == []
