"""Runs the command of a password manager: without a shell, bounded in time and output, its standard error unread."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process, SubprocessStreamProtocol
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.secretstore.store import SecretUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_BYTES: Final = 64 * 1024
ENDED_S: Final = 1.0
"""For one that was killed to be gone. One that has become another user's cannot be killed, and is not waited for."""


async def output_of(
    scheme: str, command: Sequence[str], *, environment: Mapping[str, str], timeout_s: float, max_bytes: int = MAX_BYTES
) -> bytes:
    """What `command` prints.

    Raises:
        SecretUnavailableError: it cannot be started, takes too long, prints nothing or too much, or ends with a code
            other than 0. The text has its name and the code alone.
    """
    name, loop = Path(command[0]).name, asyncio.get_running_loop()
    try:
        transport, protocol = await loop.subprocess_exec(
            partial(SubprocessStreamProtocol, limit=MAX_BYTES, loop=loop),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=dict(environment),
            process_group=0,
        )
    except OSError as error:
        raise SecretUnavailableError(scheme, f"{name}: {error.strerror}") from None
    process = Process(transport, protocol, loop)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(timeout_s):
            output = await process.stdout.read(max_bytes + 1)
            while piece := await process.stdout.read(max_bytes + 1 - len(output)):
                output += piece
            code = await process.wait() if len(output) <= max_bytes else -1
    except TimeoutError:
        raise SecretUnavailableError(scheme, f"{name} took longer than {timeout_s:g} s", passing=True) from None
    finally:
        if process.returncode is None:
            for kill in (partial(os.killpg, process.pid, signal.SIGKILL), process.kill):  # with all that it has started
                with contextlib.suppress(ProcessLookupError, PermissionError):  # it may have left its own group
                    kill()
        # Else our end stays open with what was not read, or for as long as anybody whom it started has the other one.
        if (pipe := transport.get_pipe_transport(1)) is not None:
            pipe.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDED_S):
                await process.wait()
        transport.close()
    if code != 0 or not 0 < len(output) <= max_bytes:
        raise SecretUnavailableError(scheme, f"{name} ended with {code} and {len(output)} bytes", passing=code != 0)
    return output
