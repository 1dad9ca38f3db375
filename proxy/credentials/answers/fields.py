"""The texts in a small request body: of a form, or of a JSON object. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

import orjson

if TYPE_CHECKING:
    from proxy.model import RequestHead

    type Pairs = tuple[tuple[str, str], ...]

FORM: Final = "application/x-www-form-urlencoded"
MAX_FIELDS: Final = 200
MAX_FIELDS_BYTES: Final = 64 * 1024
"""A token call is smaller; a longer body is refused."""


def media_type(value: str | None) -> str:
    """The media type of a Content-Type, in lower case, without its parameters."""
    return (value or "").partition(";")[0].strip(" \t").lower()


def body_fields(head: RequestHead, body: bytes) -> Pairs | None:
    """Names and texts, in order, repeated ones too; None for what cannot be read in one way.

    A form, or a JSON object whose texts, numbers and truths at the top count. Any other body has no fields.
    """
    if not body:
        return ()
    if head.header("content-encoding") is not None:
        return None
    kind = media_type(head.header("content-type"))
    if kind == FORM:
        return form_fields(body)
    if _is_json(kind):
        return _json_fields(body)
    return ()


def has_fields(head: RequestHead) -> bool:
    """Whether its body is of a type whose fields are read."""
    kind = media_type(head.header("content-type"))
    return kind == FORM or _is_json(kind)


def _is_json(kind: str) -> bool:
    return kind == "application/json" or kind.endswith("+json") or kind.startswith("application/x-amz-json")


def form_fields(body: bytes) -> Pairs | None:
    """The pairs of a form; None where it is none."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except (UnicodeDecodeError, ValueError):
        return None
    return tuple(pairs)


def _json_fields(body: bytes) -> Pairs | None:
    try:
        whole = isinstance(orjson.loads(body), dict)
        pairs = json.loads(body, object_pairs_hook=list) if whole else None  # orjson keeps the last of a name only
    except (ValueError, RecursionError):
        return None
    return None if pairs is None else tuple((name, value) for name, value in pairs if isinstance(value, str))
