"""validate: whether a call is what its operation takes, and the values of it that policies may speak of. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.canonical.pointer import steps_of
from proxy.catalog.validation.fields import Value, at_pointer, typed
from proxy.catalog.validation.received import JSON, Received, check_type
from proxy.catalog.validation.schemas import compiled, escaped, misfits
from proxy.catalog.validation.unclear import UnclearError, invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jsonschema_rs import Draft202012Validator

    from proxy.catalog.schema import Operation
    from proxy.catalog.validation.json_text import Json
    from proxy.catalog.validation.spec import BodySpec, FieldSpec
    from proxy.errors import Denial
    from proxy.model import RequestHead


@dataclass(frozen=True, slots=True)
class Rules:
    """What one operation's calls are checked against, compiled."""

    operation: Operation
    body: Draft202012Validator | None
    query: Draft202012Validator | None
    headers: Draft202012Validator | None

    @classmethod
    def of(cls, operation: Operation) -> Rules | None:
        """None where nothing is checked. Raises ValueError for a schema that is none."""
        if not operation.is_checked:
            return None
        schema = operation.body.schema_ if operation.body is not None else None
        return cls(
            operation,
            None if schema is None else compiled(schema),
            None if operation.query_schema is None else compiled(operation.query_schema),
            None if operation.header_schema is None else compiled(operation.header_schema),
        )


@dataclass(frozen=True, slots=True)
class Checked:
    """A call that is what its operation takes.

    Attributes:
        fields: values that the profile names; one that the call does not have is absent.
    """

    fields: Mapping[str, Value] = field(default_factory=dict)


def check_early(operation: Operation, head: RequestHead) -> Denial | None:
    """What can be refused before the body has come: its type and its coding."""
    spec = JSON if operation.told_by_content else operation.body
    try:
        if spec is not None:
            check_type(head, spec)
    except UnclearError as unclear:
        return unclear.denial()
    return None


def check(rules: Rules, head: RequestHead, body: bytes) -> Checked | Denial:
    """Whether the whole call is what its operation takes. `body` is b"" where there is none."""
    received = Received(head, body)
    try:
        paths = tuple(_misfits(rules, received))
        if paths:
            return invalid("The parts of the request named here are not what this operation takes.", paths)
        return _fields(rules.operation, received)
    except UnclearError as unclear:
        return unclear.denial()


def _misfits(rules: Rules, received: Received) -> Iterator[str]:
    spec = rules.operation.body
    if rules.query is not None:
        yield from misfits(rules.query, dict(received.query()), "/query")
    if rules.headers is not None:
        yield from misfits(rules.headers, dict(received.headers()), "/headers")
    if spec is not None and spec.required and not received.body:
        yield "/body"
    elif spec is not None and received.body:
        content = received.content(spec)
        if rules.body is not None:
            yield from misfits(rules.body, content, "/body")


def _fields(operation: Operation, received: Received) -> Checked | Denial:
    found: dict[str, Value] = {}
    for name, spec in operation.fields.items():
        raw, texts = _raw(operation.body, spec, received)
        value = None if raw is None else typed(raw, spec.type, texts=texts)
        if value is not None:
            found[name] = value
        elif raw is not None or spec.required:
            place = f"/body{spec.pointer}" if spec.pointer is not None else f"/query/{escaped(spec.query or '')}"
            return invalid("A value that the operator's rules look at is missing or of another type.", (place,))
    return Checked(found)


def _raw(body: BodySpec | None, spec: FieldSpec, received: Received) -> tuple[Json, bool]:
    """What stands where `spec` says, and whether everything there is a text."""
    if spec.pointer is None:
        assert spec.query is not None
        return _parameter(received, spec.query), True
    texts = body is not None and body.format != "json"
    top = steps_of(spec.pointer)[0].casefold()
    if any(_base(name) == top for name in received.query()):  # many frameworks put both together
        raise UnclearError("A value that policies look at in the body stands in the URL.")
    if not received.body:
        return None, texts
    content = received.content(body or JSON)
    if texts and isinstance(content, dict) and any(_base(key) == top and key.casefold() != top for key in content):
        raise UnclearError("A value that policies look at stands there in two forms.")
    if isinstance(content, list) and body is None:
        raise UnclearError("A batch has no single value for what the operator's rules look at.")
    return at_pointer(content, spec.pointer), texts


def _parameter(received: Received, name: str) -> Json:
    """A query parameter; its name in other capitals, or as a list (`name[]`), would be a second reading."""
    parameters = received.query()
    folded = name.casefold()
    if any(key != name and _base(key) == folded for key in parameters):
        raise UnclearError("A parameter that policies look at stands there in two forms.")
    return parameters.get(name)


def _base(name: str) -> str:
    """A parameter's name as the most forgiving server reads it."""
    return name.casefold().partition("[")[0].strip()
