"""The doctor's laboratory, in this process, and clients that behave as they are told to."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy.cli.doctor.client import Mode
from proxy.cli.doctor.laboratory import laboratory
from proxy.cli.doctor.trial import tried

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.cli.doctor.client import Client
    from proxy.cli.doctor.laboratory import Laboratory
    from proxy.cli.doctor.report import Row


@dataclass(frozen=True)
class Bench:
    """Tries clients in one laboratory."""

    place: Laboratory
    folder: Path

    async def tries(
        self, *clients: Client, limit_s: float = 20.0, at_once: int = 2, mode: Mode = Mode.VARIABLES
    ) -> list[Row]:
        operators = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "OPERATORS_SECRET": "not-for-clients"}
        return await tried(
            clients, self.place, folder=self.folder, operators=operators, limit_s=limit_s, at_once=at_once, mode=mode
        )


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with laboratory(tmp_path, attempts=20) as place:
        yield Bench(place, tmp_path)


async def alive(mark: str) -> list[str]:
    """Command lines of processes that hold `mark` among their arguments."""
    await asyncio.sleep(0)
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if mark in line:
            found.append(line)
    return found
