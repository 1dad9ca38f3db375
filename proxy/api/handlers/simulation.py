"""POST /policies/simulate."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.api.policy_models import MAX_TEXT, Mistake, Replay, SimulateRequest, Simulation
from proxy.api.problems import ProblemError
from proxy.catalog.policies import policies_of
from proxy.db.threads import in_thread
from proxy.errors import ConfigError
from proxy.receipts import queries
from proxy.trial.replay import NOT_HELD, Change, replayed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from proxy.api.call import Call
    from proxy.decision import Generation
    from proxy.model import Agent
    from proxy.policy import Policies
    from proxy.trial.replay import Replayed

SHOWN: Final = (Change.TIGHTENED, Change.APPROVAL, Change.LOOSENED, Change.UNKNOWN)


async def simulate(call: Call) -> Simulation:
    """Ask other policies about past calls that the caller may see. Nothing is sent, and nothing changes."""
    asked, services = call.sent(SimulateRequest), call.services
    generation = services.generation()
    if sum(map(len, asked.policies.values())) > MAX_TEXT:
        raise ProblemError("too_large", "The policies together are too long.")
    try:
        candidate = await in_thread(_candidate, generation, asked)
    except ConfigError as error:
        mistakes = [Mistake(file=one.file, line=one.line, message=one.message) for one in error.findings]
        return _told([], mistakes)
    tenant = call.operator.tenant
    calls = await in_thread(
        queries.recent, services.database, limit=asked.limit, since_ms=asked.since_ms, tenant=tenant
    )
    agents = {one.name: one for one in call.agents()}
    return _told(await in_thread(_replayed, generation, candidate, agents, [one.decision for one in calls]), [])


def _candidate(generation: Generation, asked: SimulateRequest) -> Policies:
    settings = generation.settings
    sources = sorted(asked.policies.items())
    # With files of one's own, the mode brings no preset.
    block = {"files": tuple(Path(name) for name, _ in sources), "preset": asked.preset or settings.policies.preset}
    changed = settings.policies.model_copy(update=block)
    return policies_of(settings.model_copy(update={"policies": changed}), generation.catalog.profiles, sources)


def _replayed(
    generation: Generation, candidate: Policies, agents: Mapping[str, Agent], decisions: Iterable[Mapping[str, Any]]
) -> list[Replayed]:
    return list(replayed(generation, candidate, agents, decisions))


def _told(found: list[Replayed], mistakes: list[Mistake]) -> Simulation:
    counts = Counter(one.change for one in found)
    return Simulation(
        mistakes=mistakes,
        calls=len(found),
        counts={change.value: counts[change] for change in Change},
        changes=[_replay(one) for one in found if one.change in SHOWN],
        not_held=list(NOT_HELD),
    )


def _replay(one: Replayed) -> Replay:
    return Replay(
        receipt=one.receipt,
        agent=one.agent,
        call=one.call,
        operation=one.operation,
        change=one.change.value,  # type: ignore[arg-type]  # those of SHOWN
        was=one.was,
        now=one.now,
        policies=list(one.policies),
        why=one.why or None,
    )
