"""`briefcased run --env`: a sidecar in the background that lives as long as the shell that asked for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

import orjson

from proxy.cli.env import warn_of
from proxy.cli.ephemeral import ephemeral
from proxy.cli.shells import PID, script, unsayable
from proxy.cli.variables import without_secrets
from proxy.errors import BriefcaseError
from proxy.settings import home

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from io import BufferedWriter

    from proxy.catalog.configuration import Configuration
    from proxy.cli.shells import Shell

LOOK_S: Final = 2.0


def leave_running(
    configuration: Configuration, operators: Mapping[str, str], *, named: Collection[str], reader: Shell
) -> None:
    """Fork: the child serves until its session's leader ends or it is told to stop; we print what it says.

    `named` are the variables that the configuration's secret refs name; `reader` is what reads what we print.

    Raises:
        BriefcaseError: the sidecar could not start.
    """
    shell = os.getsid(0)
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.close(ours)
        os.setsid()
        code = 1
        with contextlib.suppress(BriefcaseError, OSError), os.fdopen(theirs, "wb") as pipe:
            asyncio.run(_serve(configuration, operators, named, pipe, shell))
            code = 0
        os._exit(code)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        said = pipe.read()
    if not said:
        raise BriefcaseError("the sidecar could not start; run a command with `briefcased run --` to see why")
    told: dict[str, dict[str, str]] = orjson.loads(said)
    sys.stdout.write(script(reader, told["set"], unset=told["unset"]))
    warn_of(unsayable([*told["set"], *told["unset"]]))


async def _serve(
    configuration: Configuration, operators: Mapping[str, str], named: Collection[str], pipe: BufferedWriter, shell: int
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    async with ephemeral(configuration, home=home(), label="shell", environment=operators) as box:
        clean, taken = without_secrets(operators, configuration.profiles, box.stand_ins, named=named, scrub=box.scrub)
        set_ = {name: clean[name] for name in taken if name in clean}
        told = {
            "unset": {name: "" for name in taken if name not in clean},
            "set": {**set_, **box.proxy, PID: str(os.getpid())},
        }
        pipe.write(orjson.dumps(told))
        pipe.close()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        while not stop.is_set() and _alive(shell):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_S)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
