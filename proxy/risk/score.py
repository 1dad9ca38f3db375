"""`score()`: the rules that hold for a call, their points added up, and what the thresholds want for the sum. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.model import Reason, Strength
from proxy.risk.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.risk.circumstances import Advice
    from proxy.risk.look import Call
    from proxy.risk_settings import Thresholds

HIGHEST: Final = 100
CLASSIFIER: Final = "classifier"
UNAVAILABLE: Final = "classifier_unavailable"


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that holds: its code, what it adds, and its sentence."""

    code: str
    points: int
    text: str


@dataclass(frozen=True, slots=True)
class Risk:
    """How risky a call is.

    Attributes:
        score: 0 to 100.
        hits: what makes it so, in the order of the table.
        least: what must happen whatever the score is.
    """

    score: int = 0
    hits: tuple[Hit, ...] = ()
    least: Strength = Strength.NONE

    @property
    def codes(self) -> tuple[str, ...]:
        """The reasons, as short names."""
        return tuple(hit.code for hit in self.hits)

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The reasons, for approvers."""
        return tuple(Reason(hit.code, hit.text, "risk") for hit in self.hits)

    def strength(self, thresholds: Thresholds) -> Strength:
        """What must happen before the call may leave."""
        if _reached(self.score, thresholds.strong_at):
            return max(self.least, Strength.STRONG)
        if _reached(self.score, thresholds.approval_at):
            return max(self.least, Strength.APPROVAL)
        return self.least

    def refused(self, thresholds: Thresholds) -> bool:
        """Whether the call may not leave at all."""
        return _reached(self.score, thresholds.refuse_at)

    def joined(self, other: Risk) -> Risk:
        """What makes the one or the other risky, each reason once: never less than either."""
        hits: dict[str, Hit] = {}
        for hit in (*self.hits, *other.hits):
            known = hits.setdefault(hit.code, hit)
            hits[hit.code] = max(known, hit, key=lambda one: one.points)
        points = sum(hit.points for hit in hits.values())
        least = max(self.least, other.least)
        return Risk(max(self.score, other.score, min(HIGHEST, points)), tuple(hits.values()), least)


NO_RISK: Final = Risk()
"""Of what no rule was asked about."""


def score(call: Call) -> Risk:
    """What the rules and the classifier's advice say. More reasons never make it less (P12)."""
    advice = call.circumstances.advice
    hits = (*_hits(call), *(_advised(advice) if advice is not None else ()))
    return Risk(
        min(HIGHEST, sum(hit.points for hit in hits)),
        hits,
        advice.strength if advice is not None else Strength.NONE,
    )


def _hits(call: Call) -> Iterator[Hit]:
    points_of = call.settings.points
    for rule in RULES:
        points = rule.points if rule.fixed else points_of.get(rule.code, rule.points)  # type: ignore[call-overload]  # a test holds the codes together
        if points and rule.holds(call):
            yield Hit(rule.code, points, rule.text)


def _advised(advice: Advice) -> Iterator[Hit]:
    if not advice.available:
        yield Hit(UNAVAILABLE, advice.score, "The external classifier gave no answer.")
    elif advice.score or advice.codes:
        yield Hit(CLASSIFIER, advice.score, "The external classifier finds the call risky.")
    for code in advice.codes:
        yield Hit(f"{CLASSIFIER}.{code}", 0, "The external classifier names this reason.")


def _reached(score: int, threshold: int | None) -> bool:
    return threshold is not None and score >= threshold
