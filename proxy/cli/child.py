"""The child of `briefcased run`: started with a clean environment, sent our signals, its exit code returned."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Final

from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORWARDED: Final = (
    signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT,
)  # fmt: skip
NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
SIGNALLED: Final = 128


async def run_child(command: Sequence[str], environment: Mapping[str, str], *, descriptors: Sequence[int] = ()) -> int:
    """Run `command` to its end; returns the exit code a shell would show (128 + N after signal N).

    It inherits `descriptors`, beside the first three.

    Raises:
        BriefcaseError: it cannot be started.
    """
    loop = asyncio.get_running_loop()
    process: asyncio.subprocess.Process | None = None
    early: list[signal.Signals] = []

    def forward(number: signal.Signals) -> None:
        # A terminal sends Ctrl-C to the whole foreground group: the child has it already.
        if number in (signal.SIGINT, signal.SIGQUIT) and sys.stdin.isatty():
            return
        if process is None:
            early.append(number)
        elif process.returncode is None:
            process.send_signal(number)

    for number in FORWARDED:
        loop.add_signal_handler(number, forward, number)
    try:
        process = await asyncio.create_subprocess_exec(*command, env=dict(environment), pass_fds=descriptors)
        for number in early:
            process.send_signal(number)
        code = await process.wait()
    except FileNotFoundError:
        raise ChildError(f"{command[0]}: command not found", NOT_FOUND) from None
    except OSError as error:
        raise ChildError(f"{command[0]}: {error.strerror}", NOT_EXECUTABLE) from None
    finally:
        for number in FORWARDED:
            loop.remove_signal_handler(number)
    return SIGNALLED - code if code < 0 else code


class ChildError(BriefcaseError):
    """The command could not be started; `exit_code` is what a shell would return."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code
