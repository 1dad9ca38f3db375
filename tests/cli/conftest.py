"""The command line as a user has it: a process per command, a home of its own, a clean environment."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.rig import Provider
from tests.rig.process import HOST, configuration, configured
from tests.rig.program import clean_environment, ended, started
from tests.rig.sidecar import EXAMPLE, KEY

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from tests.rig.process import Up
    from tests.rig.program import Ended

ROOT = Path(__file__).parents[2]
BRIEFCASED = (sys.executable, "-m", "proxy")


@dataclass(frozen=True)
class Cli:
    """Runs `briefcased` in `folder`, with its state below it."""

    folder: Path
    state: Path

    def environment(self, **variables: str) -> dict[str, str]:
        own = {"BRIEFCASED_HOME": str(self.state), "PYTHONPATH": str(ROOT)}
        return {**clean_environment(self.folder), **own, **variables}

    async def start(self, *arguments: str, **variables: str) -> asyncio.subprocess.Process:
        return await started(*BRIEFCASED, *arguments, env=self.environment(**variables), cwd=self.folder)

    async def run(self, *arguments: str, stdin: str | None = None, **variables: str) -> Ended:
        typed = None if stdin is None else stdin.encode()
        command = (*BRIEFCASED, *arguments)
        process = await started(*command, env=self.environment(**variables), cwd=self.folder, stdin=typed)
        return await ended(process, stdin=typed)


@dataclass(frozen=True)
class Local:
    """A provider on loopback that echoes, and a configuration that enables it; its key is in EXAMPLE_API_KEY."""

    provider: Provider
    config: Path

    @property
    def base(self) -> str:
        return f"https://{HOST}:{self.provider.port}"


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    folder = tmp_path / "user"
    folder.mkdir()
    return Cli(folder, folder / "state")


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[Local]:
    provider = Provider(tmp_path, (HOST,))
    await provider.start()
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    text = EXAMPLE.replace("host: api.example.test", f"host: {HOST}").format(port=provider.port)
    (profiles / "example.yaml").write_text(text)
    config = tmp_path / "briefcased.yaml"
    config.write_text(yaml.safe_dump(configuration(provider, profiles)))
    yield Local(provider, config)
    await provider.stop()


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    """`briefcased up` with one agent, `tester`; it listens."""
    folder = tmp_path / "up"
    folder.mkdir()
    async with configured(folder) as sidecar:
        await sidecar.start()
        yield sidecar


@pytest.fixture
def beside(cli: Cli, up: Up) -> Cli:
    """Further commands for the running sidecar."""
    return replace(cli, state=up.home)


def real_key() -> dict[str, str]:
    return {"EXAMPLE_API_KEY": KEY}
