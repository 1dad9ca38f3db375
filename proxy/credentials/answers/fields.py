"""The texts in a small request body: of a form, or of a JSON object. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

import orjson

if TYPE_CHECKING:
    from proxy.model import RequestHead

    type Pairs = tuple[tuple[str, str], ...]

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
    if kind == "application/x-www-form-urlencoded":
        return form_fields(body)
    if kind == "application/json" or kind.endswith("+json") or kind.startswith("application/x-amz-json"):
        return _json_fields(body)
    return ()


def form_fields(body: bytes) -> Pairs | None:
    """The pairs of a form; None where it is none."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except (UnicodeDecodeError, ValueError):
        return None
    return tuple(pairs)


def _json_fields(body: bytes) -> Pairs | None:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict):
        return None
    return tuple((name, value) for name, value in document.items() if isinstance(value, str))
