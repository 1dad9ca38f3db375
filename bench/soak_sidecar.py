"""`briefcased up` as an operator runs it, a process of its own; what the kernel says of it while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from client import BrokenError
from process import cpu_s
from soak_clients import Agent
from upstream import HOST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

VARIABLE: Final = "SOAK_API_KEY"
AGENTS: Final = ("first", "second")
WAIT_S: Final = 60.0
VERIFY_S: Final = 600.0
LOOK_S: Final = 0.05
FIELD: Final = re.compile(r"^(VmRSS|RssAnon|Threads):\s+(\d+)", re.MULTILINE)
COMPLAINT: Final = re.compile(r"warning|error|critical|Traceback")
PROFILE: Final = """\
schema: 1
name: soak
title: The provider of the soak
docs: https://localhost/
checked: "2026-11-25"
hosts: [{hosts}]
secrets:
  api_key: {{env: [{variable}], stand_in: {{template: "sk-soak-{{base62:32}}"}}}}
credentials:
  bearer: {{kind: header, header: Authorization, prefix: "Bearer ", secret: api_key}}
operations:
  - {{id: socket, methods: [GET], path: /socket, action: write, websocket: true}}
  - {{id: read, methods: [GET], path: "/**", action: read}}
  - {{id: write, methods: [POST], path: "/**", action: write}}
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process: seconds of the monotonic clock, KiB, counts, CPU seconds so far."""

    at_s: float
    rss_kib: int
    anonymous_kib: int
    descriptors: int
    threads: int
    cpu_s: float


def sample(pid: int) -> Sample:
    """A look at `pid` now (`/proc/PID/status`, `/proc/PID/fd`). Raises `BrokenError` where it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
        found = {name: int(value) for name, value in FIELD.findall(status)}
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        return Sample(
            time.monotonic(), found["VmRSS"], found["RssAnon"], descriptors, found["Threads"], cpu_s(pid)
        )  # fmt: skip
    except (OSError, KeyError) as error:
        raise BrokenError("the sidecar is gone") from error


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A configured sidecar in `folder`; `key` is only in its environment."""

    folder: Path
    key: str

    @property
    def home(self) -> Path:
        """Its state directory."""
        return self.folder / "home"

    @property
    def log(self) -> Path:
        """Its standard error."""
        return self.folder / "log"

    @property
    def config(self) -> Path:
        """Its configuration."""
        return self.folder / "briefcased.yaml"

    @property
    def environment(self) -> dict[str, str]:
        """The variables of all its commands."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        root = str(Path(__file__).parent.parent)
        return {**kept, "BRIEFCASED_HOME": str(self.home), VARIABLE: self.key, "PYTHONPATH": root}

    def configure(self, ports: Mapping[str, int]) -> None:
        """Write configuration and profile for a provider with these ports on loopback."""
        profiles = self.folder / "profiles"
        profiles.mkdir()
        hosts = ", ".join(f"{{host: {HOST}, port: {port}}}" for port in ports.values())
        (profiles / "soak.yaml").write_text(PROFILE.format(hosts=hosts, variable=VARIABLE))
        self.config.write_text(
            yaml.safe_dump(
                {
                    "version": 1,
                    "listeners": {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0"},
                    "profiles": [str(profiles)],
                    "providers": {"soak": {"accounts": {"main": {"secrets": {"api_key": f"env:{VARIABLE}"}}}}},
                    "agents": {name: {"accounts": ["*"]} for name in AGENTS},
                    "egress": {
                        "allow_private": [{"host": HOST, "addresses": ["127.0.0.1/32"]}],
                        "ca_bundle": str(self.folder / "provider-root.pem"),
                    },
                }
            )
        )

    async def command(self, *arguments: str, limit_s: float = WAIT_S) -> str:
        """The standard output of another briefcased command. Raises `BrokenError` where it fails."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "proxy", *arguments, env=self.environment, stdout=pipe, stderr=pipe
        )
        async with asyncio.timeout(limit_s):
            out, err = await process.communicate()
        if process.returncode:
            raise BrokenError(f"briefcased {arguments[0]} failed: {(err or out).decode()[-500:]}")
        return out.decode()

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """`briefcased up`, once it listens; killed at the end where it still runs."""
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "proxy", "up", "--config", str(self.config), env=self.environment, stderr=log
            )
        try:
            async with asyncio.timeout(WAIT_S):
                while not (self.home / "sidecar.json").exists():
                    if process.returncode is not None:
                        raise BrokenError(f"briefcased up ended: {self.log.read_text()[-500:]}")
                    await asyncio.sleep(LOOK_S)
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def root(self) -> Path:
        """A file with the root of the running sidecar alone, the last in its bundle: 200 clients need not read all."""
        text, path = (self.home / "ca-bundle.pem").read_text(), self.folder / "sidecar-root.pem"
        path.write_text(text[text.rindex("-----BEGIN CERTIFICATE") :])
        return path

    async def tokens(self) -> list[str]:
        """A new token for each of `AGENTS`."""
        added = await asyncio.gather(*(self.command("agents", "add", name) for name in AGENTS))
        return [token.strip() for token in added]

    async def agents(self, tokens: list[str]) -> list[Agent]:
        """The agents with these tokens, and with their stand-ins, at the running sidecar."""
        address = json.loads((self.home / "sidecar.json").read_text())["proxy"]
        config = ("--config", str(self.config), "--json")
        said = await asyncio.gather(*(self.command("stand-ins", "--agent", name, *config) for name in AGENTS))
        return [
            Agent(f"http://agent:{token}@{address}", json.loads(out)[0]["stand_in"])
            for token, out in zip(tokens, said, strict=True)
        ]

    async def receipts(self) -> dict[str, Any]:
        """What `briefcased receipts verify` finds."""
        try:
            return dict(json.loads(await self.command("receipts", "verify", "--json", limit_s=VERIFY_S)))
        except BrokenError as error:
            return {"ok": False, "calls": 0, "records": 0, "problems": [str(error)]}

    def complaints(self) -> list[str]:
        """Lines of the log that should not be there; the key itself is never repeated."""
        text = self.log.read_text()
        found = ["the key is in the log"] if self.key in text else []
        return found + [line.replace(self.key, "KEY") for line in text.splitlines() if COMPLAINT.search(line)]


async def stopped(process: asyncio.subprocess.Process) -> int:
    """The exit code after TERM. Raises TimeoutError."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(WAIT_S):
        return await process.wait()
