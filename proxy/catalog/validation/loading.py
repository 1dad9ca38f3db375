"""Schemas that lie in files beside their profile, and what can be wrong with what a profile checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from proxy.catalog.validation.checking import Rules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proxy.catalog.schema import Operation, Profile
    from proxy.catalog.validation.spec import GraphqlSpec, JsonRpcSpec
    from proxy.documents import Place

type Mistake = tuple[Place, str]

MAX_SCHEMA_FILE_BYTES = 1024 * 1024


def with_files(profile: Profile, folder: Path) -> tuple[Profile, list[Mistake]]:
    """`profile` with its schemas in their places, and what is wrong with the files they are in."""
    operations: list[Operation] = []
    found: list[Mistake] = []
    for index, operation in enumerate(profile.operations):
        body = operation.body
        if body is None or body.file is None:
            operations.append(operation)
            continue
        place: Place = ("operations", index, "body", "file")
        try:
            if (folder / body.file).stat().st_size > MAX_SCHEMA_FILE_BYTES:
                raise ValueError("larger than 1 MiB")
            schema = orjson.loads((folder / body.file).read_bytes())
        except OSError:
            found.append((place, "this file cannot be read"))
        except ValueError:
            found.append((place, "not a JSON file of at most 1 MiB"))
        else:
            filled = body.model_copy(update={"schema_": schema})
            operations.append(operation.model_copy(update={"body": filled}))
    if found or all(one.body is None or one.body.file is None for one in profile.operations):
        return profile, found
    return profile.model_copy(update={"operations": tuple(operations)}), []


def operation_mistakes(operation: Operation, place: Place) -> Iterator[Mistake]:
    """What the schema cannot say about what an operation checks."""
    try:
        Rules.of(operation)
    except ValueError as problem:
        yield (*place, "body"), str(problem)
    told = [name for name in ("graphql", "jsonrpc") if getattr(operation, name) is not None]
    if len(told) > 1:
        yield (*place, "jsonrpc"), "a call is GraphQL or JSON-RPC"
    if told and operation.body is not None and operation.body.format != "json":
        yield (*place, "body", "format"), "GraphQL and JSON-RPC are JSON"
    body = operation.body
    if body is not None and body.file is not None and body.schema_ is None:
        yield (*place, "body", "file"), "this schema has not been read"
    for name, spec in operation.fields.items():
        if (spec.pointer is None) == (spec.query is None):
            yield (*place, "fields", name), "a field has a pointer or a query parameter"
        elif spec.pointer is not None and body is None and not told:
            yield (*place, "fields", name), "a pointer needs `body`, `graphql` or `jsonrpc`"
    if operation.needs_body and (operation.websocket or operation.reads_body or operation.batch is not None):
        yield (*place, "body"), "this call's body is read for another reason, or never"
    wrong = {"GET", "HEAD"} & set(operation.methods)
    if wrong and (operation.jsonrpc is not None or (body is not None and body.required)):
        yield (*place, "methods"), "these methods have no body"


def conflicting_fields(profile: Profile) -> Iterator[Mistake]:
    """Fields that have one name and two types: policies could not speak of them."""
    types: dict[str, str] = {}
    for index, operation in enumerate(profile.operations):
        for name, spec in operation.fields.items():
            if types.setdefault(name, spec.type) != spec.type:
                yield ("operations", index, "fields", name), "a field of this name has another type elsewhere"


def bodies_meet(one: Operation, other: Operation) -> bool:
    """Whether one body could belong to both."""
    if one.graphql is not None and other.graphql is not None:
        return _graphql_meets(one.graphql, other.graphql)
    if one.jsonrpc is not None and other.jsonrpc is not None:
        return _jsonrpc_meets(one.jsonrpc, other.jsonrpc)
    return True


def _graphql_meets(one: GraphqlSpec, other: GraphqlSpec) -> bool:
    if set(one.persisted) & set(other.persisted):
        return True
    fields = not one.fields or not other.fields or bool(set(one.fields) & set(other.fields))
    return fields and bool(set(one.operations) & set(other.operations))


def _jsonrpc_meets(one: JsonRpcSpec, other: JsonRpcSpec) -> bool:
    shared = [(a, b) for a in one.methods for b in other.methods if _patterns_meet(a, b)]
    apart = one.tools and other.tools and not set(one.tools) & set(other.tools)
    if apart:
        shared = [pair for pair in shared if "tools/call" not in pair]
    return bool(shared) or (one.responses and other.responses)


def _patterns_meet(one: str, other: str) -> bool:
    short, long = sorted((one.removesuffix("*"), other.removesuffix("*")), key=len)
    return one == other or (long.startswith(short) and (one if one.removesuffix("*") == short else other).endswith("*"))
