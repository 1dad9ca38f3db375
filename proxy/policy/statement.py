"""One policy, parsed and checked by itself: its id, its scope, its annotations. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import cedarpy
import orjson

from proxy.errors import Finding
from proxy.model import Strength
from proxy.policy.monotone import loosening, speaks_of_risk
from proxy.policy.vocabulary import GROUPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.policy.entities import Uid
    from proxy.policy.text import Statement

ANNOTATIONS: Final = frozenset({"id", "description", "advice", "approval", "redact", "limit"})
"""Those that mean something; others are refused, so that a misspelt one is seen."""
OBLIGATIONS: Final = frozenset({"approval", "redact", "limit"})
APPROVALS: Final = {"approval": Strength.APPROVAL, "strong": Strength.STRONG}
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_LIMIT: Final = re.compile(r"[1-9]\d{0,8}/(s|m|h|d)")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_POINTER: Final = re.compile(r"(/[^/\s]+)+")
_TIMES: Final = tuple(orjson.dumps({"left": {"Var": "context"}, "attr": name}) for name in ("now", "hour", "weekday"))
_ANY: Final = ("", "")
"""Stands for every principal, or every resource, in an index."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many calls of one agent within the last `per_s` seconds, counted for the policy."""

    policy: str
    calls: int
    per_s: int


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that stands on its own; validated against the schema it is not yet.

    Attributes:
        id: its `@id`, else its file and number.
        line: where it starts.
        permits: `permit`; else `forbid`.
        principal: the entity that its scope is limited to; `("", "")` for none.
        resource: likewise.
        actions: ids that its scope names; empty for every action.
        plain: it has no condition, and its scope is no more than `principal`, `resource` and `actions` say.
        compiled: Cedar's JSON form, without annotations.
        text: as it was written, without comments.
    """

    id: str
    file: str
    line: int
    permits: bool
    principal: Uid
    resource: Uid
    actions: frozenset[str]
    plain: bool
    annotations: Mapping[str, str]
    compiled: Mapping[str, Any] = field(repr=False)
    text: str = field(repr=False)

    @property
    def redact(self) -> tuple[str, ...]:
        """Pointers of what its `@redact` has taken out of answers."""
        return tuple(self.annotations.get("redact", "").split())

    @property
    def limit(self) -> Limit | None:
        """What its `@limit` says."""
        count, slash, unit = self.annotations.get("limit", "").partition("/")
        return Limit(self.id, int(count), _UNIT_S[unit]) if slash else None

    @property
    def reads_context(self) -> bool:
        """Whether a condition looks at the call's context."""
        return b'{"Var":"context"}' in orjson.dumps(self.compiled["conditions"])

    @property
    def reads_time(self) -> bool:
        """Whether a condition asks when it is."""
        return any(one in orjson.dumps(self.compiled["conditions"]) for one in _TIMES)

    @property
    def strength(self) -> Strength:
        """What its `@approval` asks for, where it permits."""
        return APPROVALS.get(self.annotations.get("approval", ""), Strength.NONE)


def parsed(statement: Statement, number: int) -> Policy | list[Finding]:
    """The policy that `statement` is, the `number`-th of its file, or what is wrong with it."""
    try:
        document = orjson.loads(cedarpy.policies_to_json_str(statement.text))
    except ValueError as error:
        return [_finding(statement, "policy", f"not Cedar: {error}")]
    found = list(document["staticPolicies"].values())
    if document["templates"] or len(found) != 1:
        return [_finding(statement, "policy", "templates are not supported; write the policy out")]
    compiled = found[0]
    annotations = {name: value or "" for name, value in compiled.pop("annotations", {}).items()}
    mistakes = [_finding(statement, f"@{name}", message) for name, message in _mistakes(annotations)]
    permits = compiled["effect"] == "permit"
    mistakes += [
        _finding(statement, f"@{name}", "only a permit can ask for it")
        for name in sorted(OBLIGATIONS & annotations.keys())
        if not permits
    ]
    if loosening(compiled["conditions"], permits=permits):
        message = "a higher risk must never allow more: compare context.risk in a permit with <, in a forbid with >"
        mistakes.append(_finding(statement, "context.risk", message))
    elif OBLIGATIONS & annotations.keys() and speaks_of_risk(compiled["conditions"]):
        message = "a higher risk must never ask for less: @approval, @redact and @limit do not go with context.risk"
        mistakes.append(_finding(statement, "context.risk", message))
    if mistakes:
        return mistakes
    compiled["action"] = _widened(compiled["action"])
    return Policy(
        id=annotations.get("id") or f"{statement.file}#{number}",
        file=statement.file,
        line=statement.line,
        permits=permits,
        principal=_limited(compiled["principal"]),
        resource=_limited(compiled["resource"]),
        actions=_actions(compiled["action"]),
        plain=_plain(compiled),
        annotations=annotations,
        compiled=compiled,
        text=statement.text,
    )


def _plain(compiled: Mapping[str, Any]) -> bool:
    """Whether the index over scopes says all there is: strict validation refuses an `==` with an entity of a group."""
    scopes = (compiled["principal"]["op"], compiled["resource"]["op"])
    return not compiled["conditions"] and all(op in ("All", "==", "in") for op in scopes)


def _mistakes(annotations: Mapping[str, str]) -> list[tuple[str, str]]:
    found = [
        (name, f"unknown; known are {', '.join(sorted(ANNOTATIONS))}") for name in annotations.keys() - ANNOTATIONS
    ]
    checks = (
        ("id", _ID.fullmatch, "letters, digits and _.:-, at most 64"),
        ("approval", APPROVALS.__contains__, '"approval" or "strong"'),
        ("limit", _LIMIT.fullmatch, 'a count and a unit of time, as "10/h"'),
        ("redact", lambda value: all(map(_POINTER.fullmatch, value.split())), "JSON pointers with spaces between"),
    )
    found += [(name, wanted) for name, good, wanted in checks if name in annotations and not good(annotations[name])]
    return sorted(found)


def _widened(action: Mapping[str, Any]) -> Mapping[str, Any]:
    """`== Action::"call"` as `in`: it is a group, and whoever writes the one means the other."""
    if action["op"] == "==" and action["entity"]["id"] in GROUPS:
        return {"op": "in", "entity": action["entity"]}
    return action


def _actions(action: Mapping[str, Any]) -> frozenset[str]:
    entities = action.get("entities") or ([action["entity"]] if "entity" in action else [])
    return frozenset(entity["id"] for entity in entities)


def _limited(scope: Mapping[str, Any]) -> Uid:
    named = scope.get("entity") or scope.get("in", {}).get("entity")
    return _ANY if named is None else (named["type"], named["id"])


def _finding(statement: Statement, path: str, message: str) -> Finding:
    return Finding(statement.file, statement.line, path, message)
