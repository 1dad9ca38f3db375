"""The configuration file, as `briefcased check` judges it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.catalog.configuration import Configuration
from proxy.cli.doctor.report import Finding, Level
from proxy.cli.words import counted
from proxy.errors import BriefcaseError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.cli.doctor.checks.situation import Situation

CHECK: Final = "configuration"


def configuration(situation: Situation) -> Iterator[Finding]:
    """Its mistakes, counted, and the first of them."""
    path, loaded = situation.config, situation.loaded
    match loaded:
        case None:
            yield Finding(CHECK, Level.OK, f"there is no {path}; `briefcased run` needs none")
        case ConfigError():
            text = f"{counted(len(loaded.findings), 'mistake')}, the first: {loaded.findings[0]}"
            yield Finding(CHECK, Level.PROBLEM, text, f"Run `briefcased check --config {path}` and correct it.")
        case BriefcaseError():
            yield Finding(CHECK, Level.PROBLEM, str(loaded), "Make the file readable.")
        case Configuration():
            providers = len(loaded.settings.providers)
            level, remedy = (Level.OK, "") if providers else (Level.WARNING, "Enable a provider under `providers`.")
            text = f"{path} is good: mode {loaded.settings.mode}, {counted(providers, 'provider')}"
            yield Finding(CHECK, level, text, remedy)
