"""Cedar text for what was seen: a `permit` for each agent and operation, with conditions where they narrow. Pure."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Final

import orjson

from proxy.catalog.matcher import WILDCARD
from proxy.catalog.template import REST, name_of, parse_template

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from proxy.catalog.schema import Operation, Profile
    from proxy.learning.seen import Seen

MAX_VALUES: Final = 8
"""Beyond so many values of one thing, it is taken to vary freely."""
MASKED: Final = re.compile(r"\{[^{}/]*\}")
_NOT_ID: Final = re.compile(r"[^A-Za-z0-9_.:-]")


def policies(calls: Iterable[Seen], profiles: Mapping[str, Profile]) -> str:
    """The text, in the order of agents and operations."""
    ordered = sorted(calls, key=_whose)
    parts = [
        _permit(number, agent, resource, waited=waited, calls=list(group), profiles=profiles)
        for number, ((agent, resource, waited), group) in enumerate(groupby(ordered, _whose), 1)
    ]
    return "\n".join(parts)


def _whose(call: Seen) -> tuple[str, str, bool]:
    return call.agent, call.resource, call.waited


def _permit(
    number: int, agent: str, resource: str, *, waited: bool, calls: list[Seen], profiles: Mapping[str, Profile]
) -> str:
    actions = ["call", *([] if waited else ["callWithoutApproval"]), "callWithoutStrongApproval"]
    named = ", ".join(f"Action::{_text(action)}" for action in actions)
    profile, _, operation = resource.partition(":")
    found = next(one for one in profiles[profile].operations if one.id == operation)
    rules = profiles[profile].hosts
    several = len(rules) > 1 or rules[0].host.startswith(WILDCARD)
    conditions = list(_conditions(found, calls, several_hosts=several))
    when = f"\nwhen {{ {' && '.join(conditions)} }}" if conditions else ""
    id_ = f"learnt.{number}.{_NOT_ID.sub('-', agent)}"[:64]
    many = "1 call" if len(calls) == 1 else f"{len(calls)} calls"
    return (
        f"// {many} of {agent}{', each after an approval' if waited else ''}\n"
        f"@id({_text(id_)})\n"
        f"permit (principal == Agent::{_text(agent)}, action in [{named}], resource == Operation::{_text(resource)})"
        f"{when};\n"
    )


def _conditions(operation: Operation, calls: list[Seen], *, several_hosts: bool) -> Iterator[str]:
    yield _one_of("context.account", {call.account for call in calls})
    if len(operation.methods) > 1:
        yield _one_of("context.method", {call.method for call in calls})
    hosts = {call.authority.host for call in calls}
    if several_hosts and len(hosts) <= MAX_VALUES:
        yield _one_of("context.host", hosts)
    pieces = parse_template(operation.path)
    if pieces[-1] == REST:
        yield _paths(sorted({call.path for call in calls}), literals=len(pieces) - 1)
        return
    for index, piece in enumerate(pieces):
        name = name_of(piece)
        values = {call.head.segments[index] for call in calls if index < len(call.head.segments)}
        if name is not None and len(values) <= MAX_VALUES and not any(_is_odd(value) for value in values):
            yield f"context.params has {_text(name)} && {_one_of(f'context.params[{_text(name)}]', values)}"


def _is_odd(value: str) -> bool:
    """Whether what a receipt says of a segment is not what policies see: masked, or percent-encoded."""
    return "%" in value or MASKED.search(value) is not None


def _one_of(what: str, values: set[str]) -> str:
    if len(values) == 1:
        return f"{what} == {_text(next(iter(values)))}"
    return f"[{', '.join(map(_text, sorted(values)))}].contains({what})"


def _paths(paths: list[str], *, literals: int) -> str:
    """Each path where they are few; else what they begin with: the template's literals, and one segment more."""
    if len(paths) <= MAX_VALUES:
        return _any_of([_path(path) for path in paths])
    begins = sorted({"/".join(path.split("/")[: literals + 2]) for path in paths})
    if len(begins) > MAX_VALUES:
        begins = sorted({"/".join(path.split("/")[: literals + 1]) for path in paths})
    return _any_of(
        [test for begin in begins for test in (_path(begin), f"context.path like {_pattern(f'{begin}/', '*')}")]
    )


def _any_of(tests: list[str]) -> str:
    return tests[0] if len(tests) == 1 else f"({' || '.join(tests)})"


def _path(path: str) -> str:
    if MASKED.search(path):
        return f"context.path like {_pattern(path, '')}"
    return f"context.path == {_text(path)}"


def _pattern(path: str, end: str) -> str:
    """A pattern for `like`: what is masked may be anything."""
    literals = (_text(piece)[1:-1].replace("*", "\\*") for piece in MASKED.split(path))
    return f'"{"*".join(literals)}{end}"'


def _text(value: str) -> str:
    """A Cedar string literal."""
    return orjson.dumps(value).decode()
