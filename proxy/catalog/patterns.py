"""Patterns that profiles write: matched by an engine whose time is linear in what it reads (I-08). Pure.

The engine is Rust's, as pydantic brings it: no look-around, no back-references.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

MAX_PATTERN_CHARACTERS: Final = 1024
MAX_VALUE_CHARACTERS: Final = 8192


class BadPatternError(ValueError):
    """It is none that this engine takes."""


def fits(pattern: str, value: str) -> bool:
    """Whether `value` matches `pattern`, whole. Raises `BadPatternError`."""
    try:
        _checker(pattern).validate_python(value)
    except ValidationError:
        return False
    return True


@lru_cache(maxsize=256)
def _checker(pattern: str) -> SchemaValidator:
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise BadPatternError("the pattern is too long")
    try:
        return SchemaValidator(
            core_schema.str_schema(
                pattern=rf"\A(?:{pattern})\z", max_length=MAX_VALUE_CHARACTERS, regex_engine="rust-regex", strict=True
            )
        )
    except SchemaError:
        raise BadPatternError("not a pattern that is matched in linear time") from None
