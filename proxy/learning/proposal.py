"""`propose`: the smallest profiles, policies and budgets that let everything through that was seen. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from proxy.catalog.template import REST, name_of, parse_template
from proxy.learning.amounts import proposed
from proxy.learning.cedar import policies

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from proxy.catalog.schema import Operation, Profile
    from proxy.learning.seen import Seen


@dataclass(frozen=True, slots=True)
class Proposal:
    """What `briefcased learn` writes.

    Attributes:
        profiles: by name, with the operations that were seen, and what must stay beside them.
        policies: Cedar text.
        budgets: entries of the block `budgets:`.
    """

    profiles: Mapping[str, Profile]
    policies: str
    budgets: tuple[Mapping[str, Any], ...]


def propose(calls: Sequence[Seen], profiles: Mapping[str, Profile], *, window: str = "day") -> Proposal:
    """From `calls`, each of an operation that `profiles` have; `window` is that of the budgets."""
    return Proposal(
        {name: _narrowed(profiles[name], calls) for name in sorted({call.profile for call in calls})},
        policies(calls, profiles),
        tuple(proposed(calls, window)),
    )


def listed(calls: Iterable[Seen], profiles: Mapping[str, Profile]) -> list[Seen]:
    """Those whose operation is still in its profile."""
    known = {f"{name}:{one.id}" for name in profiles for one in profiles[name].operations}
    return [call for call in calls if call.resource in known]


def _narrowed(profile: Profile, calls: Iterable[Seen]) -> Profile:
    """With the operations that were seen, and those whose calls would otherwise count as one of them."""
    seen = {call.operation for call in calls if call.profile == profile.name}
    used = [one for one in profile.operations if one.id in seen]
    kept = tuple(one for one in profile.operations if one.id in seen or any(_could_take(u, one) for u in used))
    ids = {one.id for one in kept}
    return profile.model_copy(
        update={
            "operations": kept,
            "examples": tuple(one for one in profile.examples if one.expect.operation in ids),
        }
    )


def _could_take(one: Operation, other: Operation) -> bool:
    """Whether a call of `other` could be one of `one`, were `other` not there."""
    if not set(one.methods) & set(other.methods) or one.websocket != other.websocket:
        return False
    pieces = zip_longest(parse_template(one.path), parse_template(other.path))
    for ours, theirs in pieces:
        if REST in (ours, theirs):
            return True
        if ours is None or theirs is None:
            return False
        if name_of(ours) is None and name_of(theirs) is None and ours != theirs:
            return False
    return True
