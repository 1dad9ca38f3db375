"""The policies that come with the sidecar, by name."""

from __future__ import annotations

from importlib import resources
from typing import Final, get_args

from proxy.policy_settings import Preset

PRESETS: Final[tuple[str, ...]] = get_args(Preset.__value__)


def preset(name: str) -> tuple[str, str]:
    """The file name and the Cedar text of the preset `name`."""
    file = f"{name}.cedar"
    return file, (resources.files(__package__) / file).read_text("utf-8")
