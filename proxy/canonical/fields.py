"""Header fields by name, once their names are in lower case and their values trimmed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def values_of(headers: Iterable[tuple[str, str]], name: str) -> list[str]:
    """The value of every field line called `name`."""
    return [value for key, value in headers if key == name]


def members_of(headers: Iterable[tuple[str, str]], name: str) -> set[str]:
    """The members of a comma-separated field, in lower case (RFC 9110, section 5.6.1)."""
    return {member.strip().lower() for value in values_of(headers, name) for member in value.split(",")}
