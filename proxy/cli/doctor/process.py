"""Programs that the doctor starts: a session of their own, a folder of their own, and nothing left of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARK: Final = "BRIEFCASED_DOCTOR"
"""A variable whose value finds every process of one attempt, also one that left its session."""
GRACE_S: Final = 0.3
MOST_SAID: Final = 8 * 1024


async def ran(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    limit_s: float,
    enough: asyncio.Event | None = None,
    descriptors: Sequence[int] = (),
) -> tuple[int | None, bytes]:
    """Run `argv` in `folder` until it ends, `enough` is set, or the time is over; its exit code and last words.

    It inherits `descriptors`.

    The code is None where it was ended by us, or could not be started. `environment` must hold `MARK`.
    """
    said = folder.with_suffix(".said")
    code: int | None = None
    with said.open("wb") as out:
        try:
            process = await asyncio.create_subprocess_exec(
                *argv, env=dict(environment), cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, pass_fds=descriptors,
            )  # fmt: skip
        except OSError as error:
            return None, f"{argv[0]}: {error.strerror}".encode()
        try:
            async with asyncio.timeout(limit_s):
                code = await _ended(process, enough)
        except TimeoutError:
            out.write(b"\n(ended after its time)")
        finally:
            _end(process.pid, environment[MARK])
            await process.wait()
    return code, said.read_bytes()[-MOST_SAID:]


async def _ended(process: asyncio.subprocess.Process, enough: asyncio.Event | None) -> int | None:
    """The exit code; None when there was enough to see first."""
    if enough is None:
        return await process.wait()
    async with asyncio.TaskGroup() as group:
        end = group.create_task(process.wait())
        seen = group.create_task(enough.wait())
        await asyncio.wait((end, seen), return_when=asyncio.FIRST_COMPLETED)
        if not end.done():
            await asyncio.wait((end,), timeout=GRACE_S)
        code = end.result() if end.done() else None
        end.cancel()
        seen.cancel()
    return code


def _end(leader: int, mark: str) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    needle = f"{MARK}={mark}\0".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if needle in (entry / "environ").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
