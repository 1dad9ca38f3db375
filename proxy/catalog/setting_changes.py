"""What of the settings decides, kept as a tree of JSON, and by what of it another one allows more (I-05). Pure.

A tree holds what differs from its default and has a say by `setting_table`; no secret ref is in it, and no path but
those that agents see as well, so that it is the same wherever the file lies. Lists are kept as mappings, by what tells
their entries apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import orjson
from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from proxy.catalog.setting_keys import keys
from proxy.catalog.setting_rules import Entries, NotThereError, Rule
from proxy.catalog.setting_table import IDENTIFIES, ROWS
from proxy.model import TENANT
from proxy.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from proxy.catalog.setting_table import Row
    from proxy.model import Agent

type Tree = Mapping[str, Any]
NAME, EACH = "NAME", "[]"
EVERY: Final = (NAME, EACH)
PASSING: Final = "is gone, so its calls pass unread"


@dataclass(frozen=True, slots=True)
class _Node:
    """One key, or what stands for every entry of a mapping or a list, and the keys below it."""

    row: Row | None = None
    default: Any = None
    below: dict[str, _Node] = field(default_factory=dict)

    def entries(self) -> tuple[_Node, Entries] | None:
        """What each entry is, and the rule for them, where this is a mapping or a list of them."""
        found = next((self.below[one] for one in EVERY if one in self.below), None)
        if found is None:
            return None
        assert isinstance(found.row, Entries)
        return found, found.row


def deciding(settings: Settings) -> Tree:
    """What of `settings` decides."""
    return _kept(_root(), _written(settings))


def wider(old: Tree, new: Tree) -> Iterator[str]:
    """By what `new` allows more than `old`, or may; in words."""
    yield from _wider(_root(), old, new, "")
    yield from (f"providers.{name} {PASSING}" for name in _passing(old, new))


def unnamed(old: Tree, new: Tree, agents: Iterable[Agent]) -> dict[str, list[str]]:
    """Agents that `new` does not name any more, and to whom the database gives more than `old` did: by what, in words.

    `agents`: those there are, as they are with `new`. Whom the database gives no account is left with nothing.
    """
    gone = old.get("agents", {}).keys() - new.get("agents", {})
    found: dict[str, list[str]] = {}
    for agent in agents:
        if agent.name in gone and agent.accounts:
            left = {"accounts": list(agent.accounts), "groups": list(agent.groups), "users": list(agent.users)}
            tenant = {} if agent.tenant == TENANT else {"tenant": agent.tenant}
            was, now = ({"agents": {agent.name: one}} for one in (old["agents"][agent.name], {**left, **tenant}))
            if said := list(_wider(_root(), was, now, "")):
                found[agent.name] = [f"{one}, by `agents add`" for one in said]
    return found


def narrowed(settings: Settings, old: Tree, back: Iterable[str] = ()) -> Settings:
    """`settings`, and where they allow more than `old` did, `old`.

    `back`: agents that they do not name any more, and that must be as they were.

    Raises:
        NotThereError: where that cannot be had: a secret or a file is needed, and the settings name none.
    """
    written = _written(settings)
    agents = _root().below["agents"].below[NAME]
    restored = {name: _had_back(agents, old["agents"][name], f"agents.{name}") for name in back}
    written["agents"] = {**written.get("agents", {}), **restored}
    data = _narrowed(_root(), old, written, "")
    for name in _passing(old, data):
        raise NotThereError(f"providers.{name} {PASSING}")
    try:
        return Settings.model_validate_json(orjson.dumps({"version": 1, **data}))
    except ValidationError as error:
        places = sorted({".".join(map(str, one["loc"])) for one in error.errors()})
        raise NotThereError(f"{', '.join(places)} cannot be had back") from None


def _written(settings: Settings) -> dict[str, Any]:
    """As it would be written, with what the mode adds where nothing is said."""
    data = settings.model_dump(mode="json", exclude_defaults=True)
    thresholds = settings.risk.thresholds("", settings.mode)
    return {**data, "risk": {**data.get("risk", {}), **thresholds.model_dump(exclude_defaults=True)}}


def _passing(old: Tree, new: Tree) -> list[str]:
    """Providers that are gone where hosts that nobody knows pass."""
    return sorted(old.get("providers", {}).keys() - new.get("providers", {})) if new.get("unmatched") == "pass" else []


@cache
def _root() -> _Node:
    """The table as a tree."""
    root, defaults = _Node(), dict(keys(Settings))
    for key, row in ROWS.items():
        node, steps = root, key.replace(EACH, f".{EACH}").split(".")
        for step in steps[:-1]:
            node = node.below.setdefault(step, _Node())
        default = to_jsonable_python(defaults.get(key))
        node.below[steps[-1]] = _Node(row, row.kept(default) if isinstance(row, Rule) else None)
    return root


def _kept(node: _Node, data: Tree) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, below in node.below.items():
        if name not in data or data[name] is None or (isinstance(below.row, str) and below.row is not IDENTIFIES):
            continue
        value, entries = data[name], below.entries()
        if entries is not None:
            each, rule = entries
            found[name] = {told: _kept(each, entry) for told, entry in _told_apart(value, rule).items()}
        elif not below.below or not isinstance(value, dict):
            found[name] = below.row.kept(value) if isinstance(below.row, Rule) else value
        elif inner := _kept(below, value):
            found[name] = inner
        elif isinstance(below.row, Entries):
            found[name] = {}
    return found


def _told_apart(value: Any, rule: Entries) -> dict[str, Any]:
    """A mapping as it is; the entries of a list by what they say under `rule.by`, a second one with its number."""
    if isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for index, entry in enumerate(value):
        told = " ".join(str(entry[name]) for name in rule.by)
        found[f"{told} {index}" if told in found else told] = entry
    return found


def _wider(node: _Node, old: Tree, new: Tree, place: str) -> Iterator[str]:
    for name, below in node.below.items():
        at = f"{place}.{name}" if place else name
        if isinstance(below.row, Rule):
            was, now = old.get(name, below.default), new.get(name, below.default)
            if was != now and below.row.more(was, now):
                yield f"{at}: {below.row.said(was, now)}"
        elif (entries := below.entries()) is not None:
            was, now = old.get(name, {}), new.get(name, {})
            yield from _wider_entries(*entries, was, now, at)
        elif isinstance(below.row, Entries):
            yield from _wider_block(below, below.row, old.get(name), new.get(name), at)
        elif below.row is None:
            yield from _wider(below, old.get(name, {}), new.get(name, {}), at)


def _wider_entries(each: _Node, rule: Entries, was: Tree, now: Tree, place: str) -> Iterator[str]:
    if rule.none and was and not now:
        yield f"{place}: none is left"
    for told in sorted(was.keys() | now.keys()):
        at = f"{place}[{told}]" if rule.by else f"{place}.{told}"
        yield from _wider_block(each, rule, was.get(told), now.get(told), at)


def _wider_block(node: _Node, rule: Entries, was: Any, now: Any, place: str) -> Iterator[str]:
    """Of an entry, or of a block, that may be absent: then it is None. What is no block is `direct`, or the like."""
    if isinstance(was, dict) and isinstance(now, dict):
        yield from _wider(node, was, now, place)
    elif was is None and now is not None:
        yield from [f"{place} is new"] if rule.new else []
    elif now is None and was is not None:
        yield from [f"{place} is gone"] if rule.gone else []
    elif was != now:
        yield f"{place}: changed"


def _narrowed(node: _Node, old: Tree, data: Tree, place: str) -> dict[str, Any]:
    """`data` as it is written, without what `old` did not allow."""
    found = dict(data)
    for name, below in node.below.items():
        at = f"{place}.{name}" if place else name
        value: Any = None
        if isinstance(below.row, Rule):
            value = _narrowed_value(below, below.row, old, data, name, at)
        elif (entries := below.entries()) is not None:
            value = _narrowed_entries(*entries, old.get(name, {}), data.get(name), at)
        elif isinstance(below.row, Entries):
            value = _narrowed_block(below, below.row, old.get(name), data.get(name), at)
        elif below.row is None:
            value = _narrowed(below, old.get(name, {}), data.get(name, {}), at)
        else:
            continue
        found.pop(name, None)
        if value is not None:
            found[name] = value
    return found


def _narrowed_value(node: _Node, rule: Rule, old: Tree, data: Tree, name: str, place: str) -> Any:
    was = old.get(name, node.default)
    now = rule.kept(data[name]) if name in data else node.default
    if was == now or not rule.more(was, now):
        return data.get(name)
    try:
        return rule.narrowed(was, data.get(name, now))
    except NotThereError as error:
        raise NotThereError(f"{place} {error}") from None


def _narrowed_entries(each: _Node, rule: Entries, was: Tree, value: Any, place: str) -> Any:
    now = {} if value is None else _told_apart(value, rule)
    all_gone = rule.none and bool(was) and not now
    found: dict[str, Any] = {}
    for told in (*now, *(name for name in was if name not in now)):
        at = f"{place}[{told}]" if rule.by else f"{place}.{told}"
        kept = Entries(rule.new, rule.gone or all_gone)
        entry = _narrowed_block(each, kept, was.get(told), now.get(told), at)
        if entry is not None:
            found[told] = entry
    return list(found.values()) if rule.by else found


def _narrowed_block(node: _Node, rule: Entries, was: Any, value: Any, place: str) -> Any:
    if isinstance(was, dict) and isinstance(value, dict):
        return _narrowed(node, was, value, place)
    if was is None:
        return None if rule.new else value
    if value is None:
        return _had_back(node, was, place) if rule.gone else None
    return value if was == value else _had_back(node, was, place)


def _had_back(node: _Node, was: Any, place: str) -> Any:
    """An entry, or a block, that is not in the settings any more, as it was kept. `NotThereError`."""
    if not isinstance(was, dict):
        return was
    found: dict[str, Any] = {}
    for name, below in node.below.items():
        if name not in was:
            continue
        at, value = f"{place}.{name}", was[name]
        if isinstance(below.row, Rule):
            if not below.row.whole(value):
                raise NotThereError(f"{at} is gone")
            found[name] = value
        elif (entries := below.entries()) is not None:
            back = {told: _had_back(entries[0], entry, f"{at}.{told}") for told, entry in value.items()}
            found[name] = list(back.values()) if entries[1].by else back
        elif not isinstance(below.row, Entries) or below.row.gone:
            found[name] = _had_back(below, value, at)
    return found
