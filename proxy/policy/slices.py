"""Which policies can bear on a question: Cedar's cost grows with every policy it is given. Pure.

A policy whose scope names a principal or a resource can only match where that entity is the asked one or an ancestor.
Where no policy that bears has a condition, the scopes alone decide, and Cedar need not be asked.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import orjson
from cedarpy import PolicySet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from proxy.policy.entities import Uid
    from proxy.policy.statement import Policy

_ANY: Final = ("", "")
MAX_KEYS: Final = 16_384
"""Questions whose slice is remembered; most share theirs with others."""
MAX_SLICES: Final = 4096

type Key = tuple[tuple[Uid, ...], tuple[Uid, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Slice:
    """The policies that bear on a question."""

    policies: tuple[Policy, ...]

    @cached_property
    def parsed(self) -> PolicySet:
        """As Cedar takes them."""
        found = {policy.id: policy.compiled for policy in self.policies}
        document = {"staticPolicies": found, "templates": {}, "templateLinks": []}
        return PolicySet.from_json_str(orjson.dumps(document).decode())

    @cached_property
    def foregone(self) -> tuple[bool, tuple[str, ...]] | None:
        """Allowed, and by what, whatever the context; None where a condition decides.

        As Cedar does: a forbid wins, then a permit, and nothing refuses.
        """
        if not all(policy.plain for policy in self.policies):
            return None
        forbids = tuple(policy.id for policy in self.policies if not policy.permits)
        permits = tuple(policy.id for policy in self.policies if policy.permits)
        return bool(permits) and not forbids, forbids or permits


class Slices:
    """Every policy, by what its scope names."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        self._by_scope: Final[dict[tuple[Uid, Uid], list[Policy]]] = defaultdict(list)
        for policy in policies:
            self._by_scope[policy.principal, policy.resource].append(policy)
        self._known: Final[OrderedDict[Key, Slice]] = OrderedDict()
        self._made: Final[OrderedDict[tuple[str, ...], Slice]] = OrderedDict()

    def matching(
        self, principals: tuple[Uid, ...], resources: tuple[Uid, ...], actions: tuple[str, ...]
    ) -> Iterator[Policy]:
        """Those whose scope can hold. Each argument: the asked one, then its ancestors."""
        for principal in (_ANY, *principals):
            for resource in (_ANY, *resources):
                for policy in self._by_scope.get((principal, resource), ()):
                    if not policy.actions or not policy.actions.isdisjoint(actions):
                        yield policy

    def of(self, principals: tuple[Uid, ...], resources: tuple[Uid, ...], actions: tuple[str, ...]) -> Slice:
        """Those policies as one; kept for the next such question."""
        key = (principals, resources, actions)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        known = self._known[key] = self._shared(tuple(self.matching(principals, resources, actions)))
        if len(self._known) > MAX_KEYS:
            self._known.popitem(last=False)
        return known

    def _shared(self, policies: tuple[Policy, ...]) -> Slice:
        """The one slice of these policies: questions of many agents have the same."""
        ids = tuple(policy.id for policy in policies)
        known = self._made.get(ids)
        if known is None:
            known = self._made[ids] = Slice(policies)
            if len(self._made) > MAX_SLICES:
                self._made.popitem(last=False)
        return known
