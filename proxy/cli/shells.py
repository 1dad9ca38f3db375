"""Variables as the text that sets them: for POSIX shells, fish, and the steps of a GitHub workflow. Pure."""

from __future__ import annotations

import hashlib
import re
import shlex
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
SET: Final = "BRIEFCASED_SET"
"""Names what was set, so that `briefcased env --off` knows it."""
PID: Final = "BRIEFCASED_PID"


class Shell(StrEnum):
    """What is to read the text."""

    SH = "sh"
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    GITHUB = "github"


ShellOption = Annotated[Shell, typer.Option("--shell", help="What reads the lines; github is the file of GITHUB_ENV.")]


def script(shell: Shell, variables: Mapping[str, str], *, unset: Iterable[str] = ()) -> str:
    """The lines that unset `unset` and set `variables`, and SET with their names.

    Names that no shell can set are left out (see `unsayable`). A workflow's file cannot unset: it sets to nothing.
    """
    said = {name: value for name, value in variables.items() if _nameable(name)}
    lines = _unset(shell, [name for name in unset if _nameable(name) and name not in said])
    lines += [_assigned(shell, name, value) for name, value in {**said, SET: " ".join(said)}.items()]
    return "".join(f"{line}\n" for line in lines)


def off(shell: Shell, environment: Mapping[str, str]) -> str | None:
    """The lines that undo `script` in a shell with this environment; None where nothing is to be undone."""
    names = [name for name in environment.get(SET, "").split() if _nameable(name)]
    if not names:
        return None
    lines = _unset(shell, [*names, SET])
    process = environment.get(PID, "")
    if shell is not Shell.GITHUB and PID in names and re.fullmatch(r"[1-9]\d{0,9}", process, re.ASCII):
        lines.insert(0, f"kill {process}")
    return "".join(f"{line}\n" for line in lines)


def unsayable(names: Iterable[str]) -> list[str]:
    """Those of `names` that no shell can name."""
    return [name for name in names if not _nameable(name)]


def _nameable(name: str) -> bool:
    return NAME.fullmatch(name) is not None


def _unset(shell: Shell, names: Iterable[str]) -> list[str]:
    match shell:
        case Shell.SH | Shell.BASH | Shell.ZSH:
            return [f"unset {name}" for name in names]
        case Shell.FISH:
            return [f"set --erase --global {name}" for name in names]
        case Shell.GITHUB:
            return [_assigned(shell, name, "") for name in names]


def _assigned(shell: Shell, name: str, value: str) -> str:
    match shell:
        case Shell.SH | Shell.BASH | Shell.ZSH:
            return f"export {name}={shlex.quote(value)}"
        case Shell.FISH:
            # In single quotes fish knows two escapes, \\ and \'.
            escaped = value.replace("\\", "\\\\").replace("'", "\\'")
            return f"set --export --global {name} '{escaped}'"
        case Shell.GITHUB:
            # A delimiter that the value cannot hold, as it would have to hold its own digest.
            end = "END_" + hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()
            return f"{name}<<{end}\n{value}\n{end}"
