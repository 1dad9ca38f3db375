"""`briefcased reload`: put a changed configuration in force, whole, or keep the old one whole."""

from __future__ import annotations

import os
import signal
import sys
import time

from proxy.catalog.configuration import load_configuration
from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.state import read_state
from proxy.errors import BriefcaseError
from proxy.settings import home

WAIT_S = 15.0
LOOK_S = 0.05


def reload(config: ConfigOption = CONFIG) -> None:
    """Check the configuration, ask the running sidecar to take it, and say what became of it."""
    load_configuration(config)
    sys.stdout.write(f"configuration {reloaded()} is in force\n")


def reloaded() -> int:
    """Have the running sidecar read its configuration again; returns its number.

    Raises:
        BriefcaseError: none runs, it does not answer, or the old configuration stays.
    """
    before = read_state(home())
    os.kill(before.pid, signal.SIGHUP)
    until_s = time.monotonic() + WAIT_S
    while (now := read_state(home())).reloads == before.reloads:
        if time.monotonic() > until_s:
            raise BriefcaseError("the sidecar did not answer in time; see its log")
        time.sleep(LOOK_S)
    if now.error is not None:
        raise BriefcaseError(now.error)
    return now.generation
