"""Programs as processes of their own, in a clean environment, and the spellings in which a secret may be seen."""

from __future__ import annotations

import asyncio
import base64
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LIMIT_S = 90
"""Of a program that starts, works and ends: some twenty times what it takes on a machine that does nothing else."""


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
    *command: str, env: Mapping[str, str], cwd: Path, stdin: bytes | None = None, session: bool = False
) -> asyncio.subprocess.Process:
    """A process whose output is read here; with `session` it leads one, as a login shell does."""
    pipe = asyncio.subprocess.PIPE
    source = asyncio.subprocess.DEVNULL if stdin is None else pipe
    return await asyncio.create_subprocess_exec(
        *command, env=dict(env), cwd=cwd, stdin=source, stdout=pipe, stderr=pipe, start_new_session=session
    )


async def ended(process: asyncio.subprocess.Process, *, stdin: bytes | None = None, limit_s: float = LIMIT_S) -> Ended:
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


def spellings(secret: str) -> tuple[str, ...]:
    """`secret` in plain, in hex, in a URL, and in Base64 at each of the three places in which it can stand."""
    shifted = (base64.b64encode(b"\0" * shift + secret.encode()).decode()[4 if shift else 0 : -4] for shift in range(3))
    return (secret, secret.encode().hex(), quote(secret, safe=""), *shifted)


def assert_unseen(text: str, *secrets: str) -> None:
    """None of `secrets` stands in `text`; says which spelling does, without the text."""
    for secret in secrets:
        for index, form in enumerate(spellings(secret)):
            assert text.find(form) < 0, f"spelling {index} of a secret was seen"
