"""The confinement check: try every way out from where this runs, and say for each whether it is open."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from proxy.confine.probe.outside import network_trials
from proxy.confine.probe.places import file_attempts, socket_attempts
from proxy.confine.probe.processes import process_attempts
from proxy.confine.probe.rights import rights_attempts
from proxy.confine.probe.through import sidecar_trials
from proxy.confine.probe.ways import WAYS, Attempt, Seen, State

if TYPE_CHECKING:
    from proxy.confine.probe.plan import Plan

THREADS: Final = 64


def probe(plan: Plan) -> tuple[Attempt, ...]:
    """Every attempt, in the order of `WAYS`. Takes about four times `plan.timeout_s` where all is dropped.

    Linux only. Nothing that is found is read, stopped or changed.
    """
    local = [*socket_attempts(plan), *file_attempts(plan), *process_attempts(), *rights_attempts()]
    with ThreadPoolExecutor(THREADS) as pool:
        trials = [*network_trials(plan), *sidecar_trials(plan)]
        attempts = [*local, *pool.map(lambda trial: trial(), trials)]
    tried = {attempt.way for attempt in attempts}
    missing = [Attempt(way, "none", State.CLOSED, Seen.ABSENT) for way in WAYS if way not in tried]
    order = {way: at for at, way in enumerate(WAYS)}
    return tuple(sorted([*attempts, *missing], key=lambda attempt: order[attempt.way]))
