"""Which policies can bear on a question: Cedar's cost grows with every policy it is given. Pure.

A policy whose scope names a principal or a resource can only match where that entity is the asked one or an ancestor.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Final

import orjson
from cedarpy import PolicySet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from proxy.policy.entities import Uid
    from proxy.policy.statement import Policy

_ANY: Final = ("", "")
MAX_SLICES: Final = 1024

type Key = tuple[tuple[Uid, ...], tuple[Uid, ...], tuple[str, ...]]


class Slices:
    """Every policy, by what its scope names."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        self._by_scope: Final[dict[tuple[Uid, Uid], list[Policy]]] = defaultdict(list)
        for policy in policies:
            self._by_scope[policy.principal, policy.resource].append(policy)
        self._made: Final[OrderedDict[Key, PolicySet]] = OrderedDict()

    def matching(
        self, principals: tuple[Uid, ...], resources: tuple[Uid, ...], actions: tuple[str, ...]
    ) -> Iterator[Policy]:
        """Those whose scope can hold. Each argument: the asked one, then its ancestors."""
        for principal in (_ANY, *principals):
            for resource in (_ANY, *resources):
                for policy in self._by_scope.get((principal, resource), ()):
                    if not policy.actions or not policy.actions.isdisjoint(actions):
                        yield policy

    def handle(self, principals: tuple[Uid, ...], resources: tuple[Uid, ...], actions: tuple[str, ...]) -> PolicySet:
        """Those policies, parsed; kept for the next such question."""
        key = (principals, resources, actions)
        known = self._made.get(key)
        if known is not None:
            self._made.move_to_end(key)
            return known
        found = {policy.id: policy.compiled for policy in self.matching(principals, resources, actions)}
        document = {"staticPolicies": found, "templates": {}, "templateLinks": []}
        made = PolicySet.from_json_str(orjson.dumps(document).decode())
        self._made[key] = made
        if len(self._made) > MAX_SLICES:
            self._made.popitem(last=False)
        return made
