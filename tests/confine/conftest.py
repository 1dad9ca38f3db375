"""Programs in a confined namespace, and in the sidecar's place a server that reads PROXY headers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy.canonical import proxy_protocol
from proxy.confine.plan import Plan
from tests.rig.program import clean_environment, ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.canonical.proxy_protocol import Origin
    from tests.rig.program import Ended

ROOT = Path(__file__).parents[2]
STARTER = (sys.executable, "-P", "-m", "proxy.confine")


def forbidden() -> str | None:
    """Why nothing can be confined here."""
    tried = subprocess.run(["unshare", "-Urnmp", "--fork", "true"], capture_output=True, text=True, check=False)
    return tried.stderr.strip() if tried.returncode else None


REASON = forbidden()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if REASON is not None:
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(pytest.mark.skip(reason=f"no user namespaces: {REASON}"))


@dataclass
class Sidecar:
    """Takes what a forwarder brings, answers HTTP with where it came from, and keeps that."""

    folder: Path
    origins: list[Origin] = field(default_factory=list)

    @property
    def path(self) -> str:
        return str(self.folder / "confined.sock")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        prefix = await reader.readexactly(proxy_protocol.PREFIX_BYTES)
        following = proxy_protocol.following(prefix)
        assert following is not None
        origin = proxy_protocol.decode(prefix + await reader.readexactly(following))
        assert origin is not None
        self.origins.append(origin)
        if origin.name == "echo.test":
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        else:
            await reader.readuntil(b"\r\n\r\n")
            body = f"{origin.name} {origin.destination[0]} {origin.destination[1]}".encode()
            head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            writer.write(head + body)
        writer.close()


@dataclass(frozen=True)
class Confined:
    """Starts programs in a namespace of their own."""

    sidecar: Sidecar
    home: Path

    before: tuple[str, ...] = ()
    """What the start is given to."""

    async def start(self, *command: str, hidden: tuple[str, ...] = (), **variables: str) -> asyncio.subprocess.Process:
        environment = {**clean_environment(self.home), **variables}
        plan = Plan(list(command), environment, self.sidecar.path, [str(self.sidecar.folder), *hidden], os.getpid())
        descriptor = plan.offered()
        pipe = asyncio.subprocess.PIPE
        try:
            return await asyncio.create_subprocess_exec(
                *self.before, *STARTER, str(descriptor), pass_fds=(descriptor,), cwd=self.home, stdin=asyncio.subprocess.DEVNULL,
                stdout=pipe, stderr=pipe, env={"PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        finally:
            os.close(descriptor)

    async def run(self, *command: str, hidden: tuple[str, ...] = (), **variables: str) -> Ended:
        return await ended(await self.start(*command, hidden=hidden, **variables))


@pytest.fixture
async def confined(tmp_path: Path) -> AsyncIterator[Confined]:
    folder, home = tmp_path / "control", tmp_path / "agent"
    folder.mkdir()
    home.mkdir()
    sidecar = Sidecar(folder)
    async with await asyncio.start_unix_server(sidecar.serve, sidecar.path):
        yield Confined(sidecar, home)
