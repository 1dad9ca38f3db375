"""Values that policies have taken out of an answer (`@redact`). Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NoReturn

from proxy.canonical.pointer import steps_of
from proxy.firewall.withheld import WithheldError

if TYPE_CHECKING:
    from collections.abc import Iterable

REDACTED: Final = "[redacted]"
EVERY: Final = "*"
"""A step of a pointer that stands for every member of an object, and every entry of a list."""
type _Json = str | int | float | bool | list[_Json] | dict[str, _Json] | None


def redacted(content_type: str | None, text: bytes, pointers: Iterable[str]) -> tuple[bytes, int]:
    """The JSON document `text` with `REDACTED` at every place that `pointers` (RFC 6901, and `*`) name; how many.

    Raises:
        WithheldError: it is no JSON, so nobody can tell what stands where.
    """
    media = (content_type or "").partition(";")[0].strip().lower()
    if media != "application/json" and not media.endswith("+json"):
        raise WithheldError("the answer is not JSON")
    try:
        document: _Json = json.loads(text, parse_constant=_refused)
        count = 0
        for pointer in pointers:
            document, found = _without(document, steps_of(pointer))
            count += found
        return json.dumps(document, separators=(",", ":"), allow_nan=False).encode(), count
    except (ValueError, RecursionError):
        raise WithheldError("the answer cannot be read") from None


def _without(value: _Json, steps: list[str]) -> tuple[_Json, int]:
    """`value` without what `steps` lead to; how many places those are."""
    if not steps:
        return REDACTED, 1
    step, count = steps[0], 0
    if isinstance(value, dict):
        for key in list(value) if step == EVERY else [step] * (step in value):
            value[key], found = _without(value[key], steps[1:])
            count += found
    elif isinstance(value, list):
        for index, each in enumerate(value):
            if step in (EVERY, str(index)):
                value[index], found = _without(each, steps[1:])
                count += found
    return value, count


def _refused(_name: str) -> NoReturn:
    raise ValueError("not JSON")
