"""JSON as plain text for people and models that read: one line a value, indented by depth. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def plain(value: object) -> str:
    """The text of a JSON value."""
    return "".join(f"{line}\n" for line in _lines(value, ""))


def _lines(value: object, indent: str) -> Iterator[str]:
    match value:
        case dict():
            for name, inner in value.items():
                if _is_nested(inner):
                    yield f"{indent}{name}:"
                    yield from _lines(inner, f"{indent}  ")
                else:
                    yield f"{indent}{name}: {_word(inner)}"
        case list() | tuple():
            for inner in value:
                if _is_nested(inner):
                    first, *rest = _lines(inner, f"{indent}  ")
                    yield f"{indent}- {first.removeprefix(f'{indent}  ')}"
                    yield from rest
                else:
                    yield f"{indent}- {_word(inner)}"
        case _:
            yield f"{indent}{_word(value)}"


def _is_nested(value: object) -> bool:
    return isinstance(value, dict | list | tuple) and bool(value)


def _word(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case dict() | list() | tuple():
            return "none"
        case _:
            return str(value)
