"""Fixtures for every test."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.rig import running_rig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.rig import Rig


# A run in the background of a script ignores Ctrl-C, and what it starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A sidecar with the profiles `example` and `other`, one agent, and their provider."""
    async with running_rig(tmp_path) as running:
        yield running
