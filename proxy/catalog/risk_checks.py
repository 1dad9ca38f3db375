"""What the schema cannot say about `risk`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.egress.http import parse_https
from proxy.secretstore import bad_ref

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proxy.catalog.checks import Mistake
    from proxy.risk_settings import RiskSettings
    from proxy.settings import Settings


def risk_mistakes(settings: Settings) -> Iterator[Mistake]:
    """Thresholds of profiles that are not enabled, and a classifier that cannot be asked."""
    for name in settings.risk.profiles:
        if name not in settings.providers:
            yield ("risk", "profiles", name), "no provider of this name is enabled"
    classifier = settings.risk.classifier
    if classifier is None:
        return
    try:
        parse_https(classifier.url)
    except ValueError:
        yield ("risk", "classifier", "url"), "a URL is https://HOST[:PORT]/PATH"
    if classifier.ca_bundle is not None and not classifier.ca_bundle.is_file():
        yield ("risk", "classifier", "ca_bundle"), "there is no such file"
    if classifier.token is not None and (problem := bad_ref(classifier.token)):
        yield ("risk", "classifier", "token"), problem


def anchored(settings: RiskSettings, base: Path) -> RiskSettings:
    """Relative paths count from `base`."""
    classifier = settings.classifier
    if classifier is None or classifier.ca_bundle is None:
        return settings
    placed = classifier.model_copy(update={"ca_bundle": base / classifier.ca_bundle})
    return settings.model_copy(update={"classifier": placed})
