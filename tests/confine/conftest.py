"""Stages for the confinement check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.confine.stage import standing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.confine.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with standing(tmp_path) as made:
        yield made
