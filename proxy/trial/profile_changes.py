"""By what one form of a profile may let more through than another, told from the profile alone (I-05, I-09). Pure.

What is not known to be narrower is named: any change but fewer hosts, fewer path prefixes, an operation that is gone
where no other takes its methods, a stricter action or data class, and what nobody decides by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.model import Action

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.catalog.schema import HostRule, Operation, Profile

_DESCRIBES: Final = frozenset(
    {"schema_version", "title", "docs", "checked", "prices_checked", "prices_docs", "examples", "notes"}
)
"""Nothing is decided by these."""
_ACTIONS: Final = (Action.READ, Action.WRITE, Action.ADMIN)
_CLASSES: Final = (None, "public", "internal", "sensitive")


def wider(before: Profile | None, after: Profile) -> Iterator[str]:
    """In words, each beginning with the profile's name; `before` is None where there was none."""
    if before is None:
        yield f"{after.name}: a new profile"
        return
    for rule in after.hosts:
        if not any(_covers(old, rule) for old in before.hosts):
            yield f"{after.name}: host {rule.host}:{rule.port} is new, or more of it"
    for name in sorted(type(after).model_fields.keys() - _DESCRIBES - {"hosts", "operations"}):
        if getattr(before, name) != getattr(after, name):
            yield f"{after.name}: {name} changed"
    old, new = ({one.id: one for one in profile.operations} for profile in (before, after))
    for id_, operation in new.items():
        if id_ not in old:
            yield f"{after.name}:{id_} is new"
        else:
            yield from (f"{after.name}:{id_}: {what}" for what in _laxer(old[id_], operation))
    for id_ in sorted(old.keys() - new.keys()):
        if any(not set(old[id_].methods).isdisjoint(one.methods) for one in after.operations):
            yield f"{after.name}:{id_} is gone, so its calls may be taken for others"


def _covers(old: HostRule, rule: HostRule) -> bool:
    below = tuple(f"{prefix.rstrip('/')}/" for prefix in old.paths)
    inside = all(path in old.paths or path.startswith(below) for path in rule.paths)
    return inside and old.model_copy(update={"paths": rule.paths}) == rule


def _laxer(old: Operation, new: Operation) -> Iterator[str]:
    if _ACTIONS.index(new.action) < _ACTIONS.index(old.action):
        yield f"{old.action} became {new.action}"
    if _CLASSES.index(new.data_class) < _CLASSES.index(old.data_class):
        yield f"data class {old.data_class} became {new.data_class or 'none'}"
    for name in sorted(type(new).model_fields.keys() - {"id", "title", "action", "data_class"}):
        if getattr(old, name) != getattr(new, name):
            yield f"{name} changed"
