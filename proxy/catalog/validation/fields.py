"""Values of a request that a profile names for policies, each with one reading. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.canonical.pointer import steps_of
from proxy.catalog.validation.json_text import member
from proxy.catalog.validation.unclear import UnclearError

if TYPE_CHECKING:
    from proxy.catalog.validation.json_text import Json
    from proxy.policy.vocabulary import FieldType

type Value = str | int | bool

_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,17}")
_TRUTHS: Final = {"true": True, "false": False}


def at_pointer(value: Json, pointer: str) -> Json:
    """What stands at `pointer` (RFC 6901); None where nothing does. Raises `UnclearError` for two readings."""
    for name in steps_of(pointer):
        if isinstance(value, dict):
            value = member(value, name)
        elif isinstance(value, list):
            value = value[int(name)] if _INTEGER.fullmatch(name) and 0 <= int(name) < len(value) else None
        else:
            return None
    return value


def typed(value: Json, kind: FieldType, *, texts: bool) -> Value | None:
    """`value` as a policy sees it, or None where it is of another type.

    `texts`: it comes from where everything is a text (a form, a query).

    Raises:
        UnclearError: it is there several times.
    """
    if texts and isinstance(value, list):
        raise UnclearError("A parameter that policies look at stands there twice.")
    if texts and isinstance(value, str):
        value = _from_text(value, kind)
    match kind:
        case "String":
            return value if isinstance(value, str) else None
        case "Long":
            return value if isinstance(value, int) and not isinstance(value, bool) else None
        case "Bool":
            return value if isinstance(value, bool) else None


def _from_text(text: str, kind: FieldType) -> Value | None:
    match kind:
        case "String":
            return text
        case "Long":
            return int(text) if _INTEGER.fullmatch(text) else None
        case "Bool":
            return _TRUTHS.get(text)
