"""Checks of the machine. Each is a function from the situation to findings, in a file of its subject."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.cli.doctor.checks.clock import clock
from proxy.cli.doctor.checks.configuration import configuration
from proxy.cli.doctor.checks.kernel import kernel
from proxy.cli.doctor.checks.owners import owners
from proxy.cli.doctor.checks.ports import ports
from proxy.cli.doctor.checks.situation import Situation
from proxy.cli.doctor.checks.state import disk, state
from proxy.cli.doctor.checks.trust import system_store, trust
from proxy.cli.doctor.checks.variables import variables

if TYPE_CHECKING:
    from proxy.cli.doctor.report import Finding

__all__ = ["Situation", "findings"]

CHECKS: Final = (configuration, clock, trust, system_store, state, disk, ports, variables, owners, kernel)


def findings(situation: Situation) -> list[Finding]:
    """What every check finds, in order. A new check is its function and one word above."""
    return [finding for check in CHECKS for finding in check(situation)]
