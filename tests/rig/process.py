"""`briefcased up` as a process of its own, with a provider in this one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.rig.program import LIMIT_S
from tests.rig.provider import Provider
from tests.rig.sidecar import EXAMPLE, KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOST = "127.0.0.1"


@dataclass
class Up:
    """A configured sidecar that can be started, killed and started again."""

    folder: Path
    provider: Provider
    config: Path
    token: str = ""
    process: asyncio.subprocess.Process | None = None
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {**kept, "BRIEFCASED_HOME": str(self.home), "EXAMPLE_API_KEY": KEY, "PYTHONPATH": str(Path.cwd())}

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another briefcased command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "proxy", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    async def start(self) -> None:
        (self.home / "sidecar.json").unlink(missing_ok=True)
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "proxy", "up", "--config", str(self.config),
            env=self.environment, stderr=(self.folder / "log").open("ab"),
        )  # fmt: skip
        async with asyncio.timeout(LIMIT_S):
            while not (self.home / "sidecar.json").exists():
                assert self.process.returncode is None, (self.folder / "log").read_text()
                await asyncio.sleep(0.02)
        self.state = json.loads((self.home / "sidecar.json").read_text())

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 30)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.state["proxy"].rpartition(":")
        return host, int(port)


def configuration(provider: Provider, profiles: Path) -> dict[str, Any]:
    return {
        "version": 1,
        "listeners": {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0"},
        "profiles": [str(profiles)],
        "providers": {"example": {"accounts": {"main": {"secrets": {"api_key": "env:EXAMPLE_API_KEY"}}}}},
        "agents": {"tester": {"accounts": ["*"]}},
        "egress": {"allow_private": [{"host": HOST, "addresses": ["127.0.0.1/32"]}], "ca_bundle": str(provider.root)},
    }


@contextlib.asynccontextmanager
async def configured(folder: Path) -> AsyncIterator[Up]:
    """Not started yet; killed at the end where it still runs."""
    provider = Provider(folder, (HOST,))
    await provider.start()
    profiles = folder / "profiles"
    profiles.mkdir()
    text = EXAMPLE.replace("host: api.example.test", f"host: {HOST}").format(port=provider.port)
    (profiles / "example.yaml").write_text(text)
    config = folder / "briefcased.yaml"
    config.write_text(yaml.safe_dump(configuration(provider, profiles)))
    up = Up(folder, provider, config)
    added = await asyncio.to_thread(up.command, "agents", "add", "tester")
    assert added.returncode == 0, added.stderr
    up.token = added.stdout.strip()
    try:
        yield up
    finally:
        if up.process is not None and up.process.returncode is None:
            await up.kill()
        await provider.stop()
