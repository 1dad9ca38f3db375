"""The policies that come with the sidecar, by name."""

from __future__ import annotations

from importlib import resources
from typing import Final, Literal, get_args

type Preset = Literal["open", "relaxed", "standard", "strict", "read-only"]
PRESETS: Final[tuple[str, ...]] = get_args(Preset.__value__)


def preset(name: str) -> tuple[str, str]:
    """The file name and the Cedar text of a preset."""
    file = f"{name}.cedar"
    return file, (resources.files(__package__) / file).read_text("utf-8")
