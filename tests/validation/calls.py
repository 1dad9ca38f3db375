"""Calls and operations for the tables."""

from __future__ import annotations

from typing import Any

import orjson

from proxy.catalog.schema import Operation
from proxy.catalog.validation import Received, Rules, check, chosen
from proxy.errors import Denial
from proxy.model import Authority, RequestHead


def head(
    method: str = "POST",
    path: str = "/x",
    query: str | None = None,
    type_: str | None = "application/json",
    **headers: str,
) -> RequestHead:
    fields = (("content-type", type_),) if type_ is not None else ()
    more = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return RequestHead(method, "https", Authority("api.test", 443), path, tuple(path[1:].split("/")), query, (*fields, *more), method not in ("GET", "HEAD"))  # fmt: skip


def operation(id_: str = "one", **fields: Any) -> Operation:
    whole = {"id": id_, "methods": ["GET", "POST"], "path": "/x", "action": "read", **fields}
    return Operation.model_validate_json(orjson.dumps(whole))


def outcome(given: object) -> Any:
    """A denial's slug and paths, the ids of operations, or the fields."""
    if isinstance(given, Denial):
        paths = given.extra.get("paths")
        return (given.slug, paths) if paths else given.slug
    if isinstance(given, tuple):
        return " ".join(f"{one.operation.id}*{one.times}" if one.times > 1 else one.operation.id for one in given)
    return getattr(given, "id", None) or getattr(given, "fields", None)


def checked(of: Operation, body: bytes = b"", sent: RequestHead | None = None) -> Any:
    rules = Rules.of(of)
    assert rules is not None
    return outcome(check(rules, sent or head(), body))


def told(operations: list[Operation], body: bytes = b"", sent: RequestHead | None = None) -> Any:
    return outcome(chosen(operations, Received(sent or head(), body)))
