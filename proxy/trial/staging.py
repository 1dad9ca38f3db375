"""Policies on their way into force: for whom they decide, and what they would change for the others. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from proxy.model import Agent
    from proxy.policy import Rollout


@dataclass(frozen=True, slots=True)
class Change:
    """Calls of one agent and operation that the candidate would have decided in another way.

    Attributes:
        was: `allow`, `approval`, or the slug of the refusal.
        candidate: the same of the candidate, or `strong`.
    """

    agent: str
    operation: str
    was: str
    candidate: str
    calls: int


@dataclass(frozen=True, slots=True)
class Stage:
    """Names of agents, sorted, and what the receipts of those for whom the candidate does not decide yet say of it."""

    decides_for: tuple[str, ...]
    not_for: tuple[str, ...]
    changes: tuple[Change, ...]


def stage_of(rollout: Rollout, agents: Iterable[Agent], decisions: Iterable[Mapping[str, Any]]) -> Stage:
    """How far `rollout` is; `decisions` are those that the candidate would have made otherwise, the oldest first."""
    sides: dict[bool, list[str]] = {True: [], False: []}
    for agent in agents:
        sides[rollout.decides_for(agent)].append(agent.name)
    alike = Counter(
        (one["agent"], f"{one['profile']}:{one['operation']}", _was(one), one["candidate"]) for one in decisions
    )
    changes = tuple(Change(*which, calls=calls) for which, calls in alike.items())
    return Stage(tuple(sorted(sides[True])), tuple(sorted(sides[False])), changes)


def _was(decision: Mapping[str, Any]) -> str:
    if decision["decision"] == "deny":
        return str(decision["slug"])
    return "approval" if decision.get("approval") else "allow"
