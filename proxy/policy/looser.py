"""By which of its policies a set may allow more than another one does, told from their text alone. Pure.

The matrix of `proxy/trial/matrix.py` asks about the agents and samples that there are. This is the other half: whatever
it does not name cannot allow more, whoever asks for what. Sound, and so it also names what is only not known to be
narrower: a permit whose condition was rewritten, say. Names, order, comments and advice are no matter.

    a permit      is covered by one with the same scope and no condition that it has not, that asks for no more
    a forbid      still holds where one with the same scope has no condition that it had not
    a permit that asks for an approval, or has an obligation, restricts what others permit, and so must still hold too
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from proxy.policy.statement import Policy

_SCOPE: Final = ("effect", "principal", "action", "resource")
_OBLIGATIONS: Final = ("limit", "redact")


def looser(before: Iterable[Policy], after: Iterable[Policy]) -> tuple[str, ...]:
    """Ids, sorted: what `after` permits and `before` may not, and what restricts in `before` and may not any more."""
    old, new = tuple(before), tuple(after)
    permitting = {one.id for one in new if one.permits and not any(_covers(wide, one) for wide in old)}
    gone = {one.id for one in old if _restricts(one) and not any(_still(one, strict) for strict in new)}
    return tuple(sorted(permitting | gone))


def _covers(wide: Policy, narrow: Policy) -> bool:
    """Whether `wide` permits all that `narrow` does, and asks for no more."""
    lighter = all(wide.annotations.get(one) in (None, narrow.annotations.get(one)) for one in _OBLIGATIONS)
    return (
        _alike(wide, narrow)
        and lighter
        and wide.strength <= narrow.strength
        and _conditions(wide) <= _conditions(narrow)
    )


def _restricts(policy: Policy) -> bool:
    return not policy.permits or policy.strength > 0 or any(one in policy.annotations for one in _OBLIGATIONS)


def _still(old: Policy, strict: Policy) -> bool:
    """Whether `strict` holds wherever `old` did, and asks for as much."""
    obliges = all(old.annotations.get(one) in (None, strict.annotations.get(one)) for one in _OBLIGATIONS)
    return (
        _alike(old, strict) and obliges and old.strength <= strict.strength and _conditions(strict) <= _conditions(old)
    )


def _alike(one: Policy, other: Policy) -> bool:
    return all(one.compiled[part] == other.compiled[part] for part in _SCOPE)


def _conditions(policy: Policy) -> frozenset[bytes]:
    """All must hold; each in one form."""
    conditions: Iterable[Mapping[str, Any]] = policy.compiled["conditions"]
    return frozenset(orjson.dumps(one, option=orjson.OPT_SORT_KEYS) for one in conditions)
