"""Every key that a model has, as docs/configuration.md writes it, with its default. Pure."""

from __future__ import annotations

import types
import typing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator


def keys(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, Any]]:
    """Each key and its default, None where it is required: `agents.NAME.groups`, `budgets[].limit`."""
    for name, field in model.model_fields.items():
        inner, mark = _inner(field.annotation)
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        yield f"{above}{name}", default
        if inner is not None:
            yield from keys(inner, f"{above}{name}{mark}.")


def _inner(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The model below an annotation, and what stands for the key of an entry."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    if origin is dict:
        return _inner(parts[1])[0], ".NAME"
    if origin is tuple:
        return _inner(parts[0])[0], "[]"
    if origin is typing.Annotated or origin in (typing.Union, types.UnionType):
        return next((found for part in parts if (found := _inner(part))[0] is not None), (None, ""))
    return None, ""
