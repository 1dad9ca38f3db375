"""A client as a process of its own: a clean environment, the proxy's variables and a stand-in, nothing else."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.rig import Rig

PROGRAMS = Path(__file__).parent / "programs"
LIMIT_S = 30


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def clean_environment(home: Path) -> dict[str, str]:
    """What a fresh login has."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "NO_COLOR": "1"}


async def started(
    *command: str, env: Mapping[str, str], cwd: Path, stdin: bytes | None = None
) -> asyncio.subprocess.Process:
    """A process whose output is read here."""
    pipe = asyncio.subprocess.PIPE
    source = asyncio.subprocess.DEVNULL if stdin is None else pipe
    return await asyncio.create_subprocess_exec(*command, env=dict(env), cwd=cwd, stdin=source, stdout=pipe, stderr=pipe)


async def ended(
    process: asyncio.subprocess.Process, *, stdin: bytes | None = None, limit_s: float = LIMIT_S
) -> Ended:
    """The process's end; it is killed when that does not come in time."""
    try:
        async with asyncio.timeout(limit_s):
            out, err = await process.communicate(stdin)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


@dataclass(frozen=True)
class Client:
    """Runs programs behind the rig's sidecar. `secrets` must never be seen by any of them."""

    rig: Rig
    home: Path
    secrets: tuple[str, ...]

    async def run(self, *command: str, **variables: str) -> Ended:
        """`command` to its end, with `variables` beside those of the proxy. It held no secret, or this fails."""
        env = {**clean_environment(self.home), **self.rig.env(), **variables}
        result = await ended(await started(*command, env=env, cwd=self.home), limit_s=LIMIT_S)
        seen = "\n".join((result.out, result.err, *env.values(), *command))
        for secret in self.secrets:
            for form in spellings(secret):
                assert form not in seen
        return result

    async def python(self, program: str, *arguments: str, **variables: str) -> Ended:
        """One of `programs/`."""
        return await self.run(sys.executable, str(PROGRAMS / program), *arguments, **variables)


def spellings(secret: str) -> tuple[str, ...]:
    """`secret` in plain, in hex, in a URL, and in Base64 at each of the three places in which it can stand."""
    shifted = (base64.b64encode(b"\0" * shift + secret.encode()).decode()[4 if shift else 0 : -4] for shift in range(3))
    return (secret, secret.encode().hex(), quote(secret, safe=""), *shifted)
