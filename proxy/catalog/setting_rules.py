"""How it is told, of one setting, that another value allows more (I-05). Pure.

A rule is only asked about values that differ. What it cannot tell counts as more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Callable

TOLD: Final = 5
WITHOUT_END: Final = Decimal("Infinity")


class NotThereError(BriefcaseError):
    """A setting that was in force cannot be had back: only that it was there is known."""


class Rule:
    """Any other value may allow more. Values are those of JSON."""

    def kept(self, value: Any) -> Any:
        """What of a value is kept, to be compared with later ones: no secret ref, no path of this machine."""
        return value

    def whole(self, kept: Any) -> bool:  # noqa: ARG002  # others look at them
        """Whether what was kept is all there was."""
        return True

    def more(self, was: Any, now: Any) -> bool:  # noqa: ARG002
        """Whether `now` allows more than `was`, both as kept."""
        return True

    def said(self, was: Any, now: Any) -> str:  # noqa: ARG002
        """The difference in words, without values that may be anything."""
        return "changed"

    def narrowed(self, was: Any, value: Any) -> Any:  # noqa: ARG002
        """A value that allows no more than `was` (as kept) did, where `value` (as written) does. `NotThereError`."""
        return was


class UnlessNew(Rule):
    """It only restricts: where there was none, one cannot allow more."""

    def more(self, was: Any, now: Any) -> bool:  # noqa: ARG002, D102
        return was is not None


class UnlessGone(Rule):
    """It only allows: none cannot allow more than one."""

    def more(self, was: Any, now: Any) -> bool:  # noqa: ARG002, D102
        return now is not None


class Present(Rule):
    """Where a file or a secret lies has no say, but whether there is one has."""

    def kept(self, value: Any) -> Any:  # noqa: D102
        return value is not None

    def whole(self, kept: Any) -> bool:  # noqa: D102
        return not kept

    def said(self, was: Any, now: Any) -> str:  # noqa: ARG002, D102
        return "is new" if now else "is gone"

    def narrowed(self, was: Any, value: Any) -> Any:  # noqa: ARG002, D102
        if was:
            raise NotThereError("is gone")
        return None


@dataclass(frozen=True)
class Ordered(Rule):
    """One of a few, from the strictest on."""

    order: tuple[Any, ...]

    def more(self, was: Any, now: Any) -> bool:  # noqa: D102
        known = was in self.order and now in self.order
        return not known or self.order.index(now) > self.order.index(was)

    def said(self, was: Any, now: Any) -> str:  # noqa: D102
        return f"{_shown(was)} -> {_shown(now)}"


class Larger(Rule):
    """The larger, the more; none is without end."""

    def more(self, was: Any, now: Any) -> bool:  # noqa: D102
        return _number(now) > _number(was)

    def said(self, was: Any, now: Any) -> str:  # noqa: D102
        return f"{_shown(was)} -> {_shown(now)}"


class Smaller(Larger):
    """The smaller, the more; none is without end."""

    def more(self, was: Any, now: Any) -> bool:  # noqa: D102
        return _number(now) < _number(was)


@dataclass(frozen=True)
class Items(Rule):
    """A list or a mapping: what was not in it before is more.

    Attributes:
        or_none: an empty one allows more than any.
        covers: whether an item of before covers one of now.
    """

    or_none: bool = False
    covers: Callable[[Any, Any], bool] = lambda old, new: old == new

    def more(self, was: Any, now: Any) -> bool:  # noqa: D102
        return bool(self._new(was, now)) or (self.or_none and not now)

    def said(self, was: Any, now: Any) -> str:  # noqa: D102
        new = self._new(was, now)
        return _listed(new, "is new") if new else "none is left"

    def narrowed(self, was: Any, value: Any) -> Any:  # noqa: D102
        new = self._new(was, value)
        left = [item for item in _items(value) if item not in new]
        if self.or_none and not left:
            return was
        return dict(left) if isinstance(value, Mapping) else left

    def _new(self, was: Any, now: Any) -> list[Any]:
        return [item for item in _items(now) if not any(self.covers(old, item) for old in _items(was))]


class Fewer(Rule):
    """A list that restricts: each that is gone, or is another now, is more."""

    def more(self, was: Any, now: Any) -> bool:  # noqa: D102
        return any(item not in now for item in was)


@dataclass(frozen=True)
class Claim(Rule):
    """Whom a token names: by the map, else by the pattern. Who leaves the map may be named by the pattern then.

    Attributes:
        nobody: whom neither names may do more than whom they do.
    """

    nobody: bool = False

    def more(self, was: Any, now: Any) -> bool:  # noqa: D102
        if was is None or now is None or not _same_claim(was, now):
            return True
        old, new = was.get("map", {}), now.get("map", {})
        return bool(_new(old, new)) or (self._missed(now) and bool(old.keys() - new))

    def said(self, was: Any, now: Any) -> str:  # noqa: D102
        if was is None or now is None:
            return "is new" if was is None else "is gone"
        if not _same_claim(was, now):
            return "changed"
        old, new = was.get("map", {}), now.get("map", {})
        found = _new(old, new)
        return _listed(found, "is new") if found else _listed(sorted(old.keys() - new), "is gone, and may be another")

    def narrowed(self, was: Any, value: Any) -> Any:  # noqa: D102
        if was is None or value is None or not _same_claim(was, value):
            return was
        old, new = was.get("map", {}), value.get("map", {})
        left = {name: one for name, one in old.items() if self._missed(value) or new.get(name) == one}
        return {**value, "map": left} if left or value.get("match") is not None else was

    def _missed(self, claim: Mapping[str, Any]) -> bool:
        return self.nobody or claim.get("match") is not None


class Names(Items):
    """A mapping to secret refs or files, of which the names are kept."""

    def kept(self, value: Any) -> Any:  # noqa: D102
        return sorted(value)

    def whole(self, kept: Any) -> bool:  # noqa: D102
        return not kept

    def narrowed(self, was: Any, value: Any) -> Any:  # noqa: D102
        left = {name: ref for name, ref in value.items() if name in was}
        if self.or_none and not left:
            raise NotThereError("is empty")
        return left


@dataclass(frozen=True)
class Entries:
    """Entries of a list or a mapping, or a block that may be absent; each key of theirs has a row of its own.

    Attributes:
        new: one that was not there allows more.
        gone: one that is not there any more does.
        none: only the last that goes does.
        by: the keys that tell those of a list apart.
    """

    new: bool = False
    gone: bool = False
    none: bool = False
    by: tuple[str, ...] = ()


def grants(old: str, new: str) -> bool:
    """Whether the grant `old` covers `new`: `*`, `provider/*` or `provider/account`."""
    return old in (new, "*", f"{new.partition('/')[0]}/*" if new != "*" else "*")


def addresses(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether what `old` lets a host resolve to covers `new`."""
    return bool(old["host"] == new["host"]) and set(new["addresses"]) <= set(old["addresses"])


def _number(value: Any) -> Decimal:
    return WITHOUT_END if value is None else Decimal(str(value))


def _same_claim(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return {**one, "map": None} == {**other, "map": None}


def _new(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in new.items() if old.get(name) != value]


def _listed(found: list[Any], what: str) -> str:
    return f"{', '.join(map(_shown, found[:TOLD]))}{', …' if len(found) > TOLD else ''} {what}"


def _items(value: Any) -> list[Any]:
    return list(value.items()) if isinstance(value, Mapping) else list(value)


def _shown(value: Any) -> str:
    match value:
        case None:
            text = "none"
        case (one, other):
            text = f"{one}={other}"
        case {"host": host, "addresses": found}:
            text = f"{host} at {' '.join(found)}"
        case _:
            text = str(value).lower() if isinstance(value, bool) else str(value)
    return "".join(each if each.isprintable() else "?" for each in text[:100])
