"""The configuration file, as `briefcased check` judges it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.catalog.configuration import load_configuration
from proxy.cli.doctor.report import Finding, Level
from proxy.errors import BriefcaseError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.cli.doctor.checks.situation import Situation

CHECK: Final = "configuration"


def configuration(situation: Situation) -> Iterator[Finding]:
    """Its mistakes, counted, and the first of them."""
    path = situation.config
    if not path.exists():
        yield Finding(CHECK, Level.OK, f"there is no {path}; `briefcased run` needs none")
        return
    try:
        loaded = load_configuration(path)
    except ConfigError as error:
        text = f"{len(error.findings)} mistakes, the first: {error.findings[0]}"
        yield Finding(CHECK, Level.PROBLEM, text, f"Run `briefcased check --config {path}` and correct them.")
    except BriefcaseError as error:
        yield Finding(CHECK, Level.PROBLEM, str(error), "Make the file readable.")
    else:
        providers = len(loaded.settings.providers)
        level, remedy = (Level.OK, "") if providers else (Level.WARNING, "Enable a provider under `providers`.")
        yield Finding(CHECK, level, f"{path} is good: mode {loaded.settings.mode}, {providers} providers", remedy)
