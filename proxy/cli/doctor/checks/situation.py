"""What the checks look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from proxy.catalog.configuration import load_configuration
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from proxy.catalog.configuration import Configuration


@dataclass(frozen=True)
class Situation:
    """Where state lives, the operator's environment, and the configuration file, which need not exist."""

    home: Path
    environment: Mapping[str, str]
    config: Path

    @cached_property
    def loaded(self) -> Configuration | BriefcaseError | None:
        """What reading the file gave; None where there is none."""
        try:
            return load_configuration(self.config) if self.config.exists() else None
        except BriefcaseError as error:
            return error

    @property
    def configuration(self) -> Configuration | None:
        """The configuration, where there is a good one."""
        return None if isinstance(self.loaded, BriefcaseError) else self.loaded
