"""Stages for the confinement check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.confine.probe.stage import standing
from tests.rig.process import configured

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.confine.probe.stage import Stage
    from tests.rig.process import Up


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with standing(tmp_path) as made:
        yield made


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    """`briefcased up` that has not been started."""
    folder = tmp_path / "up"
    folder.mkdir()
    async with configured(folder) as sidecar:
        yield sidecar
