"""JSON Schemas of a profile: bounded, self-contained, compiled once. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import jsonschema_rs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import JsonValue

    from proxy.catalog.validation.json_text import Json

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MAX_SCHEMA_VALUES: Final = 20_000
MAX_SCHEMA_DEPTH: Final = 64
REFERENCES: Final = ("$ref", "$dynamicRef")
MAX_ERRORS: Final = 16


def compiled(schema: JsonValue) -> jsonschema_rs.Draft202012Validator:
    """What checks values against `schema`.

    Patterns are those of a linear-time engine (I-08): no look-around, no back-references.

    Raises:
        ValueError: it is not a schema of 2020-12, refers to another document, or is too large.
    """
    if not isinstance(schema, dict):
        raise ValueError("a schema is an object")
    _check(schema)
    try:
        return jsonschema_rs.Draft202012Validator(
            schema, validate_formats=True, pattern_options=jsonschema_rs.RegexOptions(size_limit=1 << 20)
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError):
        raise ValueError("not a JSON Schema of 2020-12, or with a pattern or reference that it cannot have") from None


def _check(schema: JsonValue) -> None:
    level, depth, seen = [schema], 0, 0
    while level:
        depth, seen = depth + 1, seen + len(level)
        if depth > MAX_SCHEMA_DEPTH or seen > MAX_SCHEMA_VALUES:
            raise ValueError("the schema is nested too deeply or too large")
        below: list[JsonValue] = []
        for one in level:
            if isinstance(one, dict):
                _check_names(one)
                below += one.values()
            elif isinstance(one, list):
                below += one
        level = below


def _check_names(value: dict[str, JsonValue]) -> None:
    for name in REFERENCES:
        target = value.get(name)
        if isinstance(target, str) and not target.startswith("#"):
            raise ValueError("a schema refers to itself only (#/$defs/…)")
    if isinstance(value.get("$id"), str) or value.get("$schema", DIALECT) != DIALECT:
        raise ValueError("a schema is of 2020-12 and has no $id of its own")


def misfits(validator: jsonschema_rs.Draft202012Validator, value: Json, place: str) -> Iterator[str]:
    """JSON pointers to what does not fit, below `place`; at most `MAX_ERRORS`, each once."""
    found: dict[str, None] = {}
    for error in validator.iter_errors(value):
        pointer = place + "".join(f"/{escaped(str(step))}" for step in error.instance_path)
        missing = getattr(error.kind, "property", None)
        found[pointer + (f"/{escaped(missing)}" if isinstance(missing, str) else "")] = None
        if len(found) == MAX_ERRORS:
            break
    yield from found


def escaped(step: str) -> str:
    """One step of a JSON pointer (RFC 6901, section 3)."""
    return step.replace("~", "~0").replace("/", "~1")
