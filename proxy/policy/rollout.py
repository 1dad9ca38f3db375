"""A set of policies on its way into force: it decides for some agents already, and is asked beside for all others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.model import Agent
    from proxy.policy.engine import Policies

_WHOLE: Final = 100


@dataclass(frozen=True, slots=True)
class Rollout:
    """The candidate, and for whom it decides: agents by name, by group, and `percent` of all.

    Which agents the share consists of depends on their names alone: a larger one only adds some, and every sidecar
    picks the same ones.
    """

    candidate: Policies
    agents: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    percent: int = 0

    @property
    def stage(self) -> tuple[frozenset[str], frozenset[str], int]:
        """For whom it decides."""
        return self.agents, self.groups, self.percent

    @property
    def decides(self) -> bool:
        """Whether it decides for anybody, or would for somebody who may come."""
        return bool(self.agents or self.groups or self.percent)

    def decides_for(self, agent: Agent) -> bool:
        """Whether the candidate decides what `agent` may do."""
        if agent.name in self.agents or not self.groups.isdisjoint(agent.groups):
            return True
        digest = hashlib.sha256(f"{agent.tenant}\n{agent.name}".encode()).digest()
        return int.from_bytes(digest[:4]) * _WHOLE >> 32 < self.percent
