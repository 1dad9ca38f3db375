"""docs/configuration.md has every key of the settings with its default, and no other."""

from __future__ import annotations

import types
import typing
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel

from proxy.settings import Settings, home
from tests.docs import pages


def keys(model, above=""):
    """Every key of `model` as the page writes it, with its default as the page writes it."""
    found = {}
    for name, field in model.model_fields.items():
        path = f"{above}{field.alias or name}"
        inner, mark = _inner(field.annotation)
        default = field.get_default(call_default_factory=True)
        if inner is None or mark:
            found[path] = "required" if field.is_required() else _shown(default)
        if inner is not None:
            found |= keys(inner, f"{path}{mark}.")
    return found


def _inner(annotation):
    """The model below an annotation, and what stands for its key."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    if origin is typing.Annotated:
        return _inner(parts[0])
    if origin is dict:
        inner, _ = _inner(parts[1])
        return (inner, ".NAME") if inner else (None, "")
    if origin is tuple:
        inner, _ = _inner(parts[0])
        return (inner, "[]") if inner else (None, "")
    if origin in (typing.Union, types.UnionType):
        return next((found for part in parts if (found := _inner(part))[0] is not None), (None, ""))
    return None, ""


def _shown(default):
    match default:
        case None:
            return "none"
        case () | {}:
            return "empty"
        case tuple():
            return f"`[{', '.join(map(str, default))}]`"
        case StrEnum():
            return f"`{default.value}`"
        case bool():
            return f"`{str(default).lower()}`"
        case float():
            return f"`{default:g}`"
        case _:
            return f"`{default}`"


def test_every_key_has_its_row_and_default_and_no_row_is_left_over():
    rows = {row[0].strip("`"): row[1] for row in pages.table(pages.text("configuration.md"), "key")}
    assert rows == keys(Settings)


def test_the_walk_over_the_settings_sees_nested_keys():
    found = keys(Settings)
    assert found["providers.NAME.accounts"] == "required"
    assert found["egress.allow_private[].addresses"] == "required"
    assert found["limits.drain_s"] == "`10`"


def test_every_limit_of_a_range_is_in_its_row():
    rows = {row[0].strip("`"): row[2] for row in pages.table(pages.text("configuration.md"), "key")}
    for above in ("egress", "limits", "secret_stores", "confinement"):
        for name, field in Settings.model_fields[above].annotation.model_fields.items():
            for bound in (getattr(item, "le", None) for item in field.metadata):
                assert bound is None or f"{bound:,}" in rows[f"{above}.{name}"], name


def test_the_keys_that_a_reload_treats_differently_exist():
    rows = pages.table(pages.text("configuration.md"), "at a reload")
    named = {span for row in rows for span in pages.SPAN.findall(row[1])}
    known = {part for key in keys(Settings) for part in (key, key.split(".")[0])}
    assert named <= known
    assert {name.split(".")[0] for name in named} == set(Settings.model_fields) - {"version"}


def test_the_variable_of_the_state_directory_is_the_one_that_is_read(monkeypatch, tmp_path):
    rows = [row[0].strip("`") for row in pages.table(pages.text("configuration.md"), "variable")]
    monkeypatch.setenv(rows[0], str(tmp_path))
    assert home() == tmp_path
    code = "".join(
        path.read_text() for folder in ("proxy", "certs") for path in Path(pages.ROOT / folder).rglob("*.py")
    )
    assert [name for name in rows if f'"{name}"' not in code] == []
