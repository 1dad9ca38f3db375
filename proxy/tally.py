"""Counts that the control listener shows. Plain numbers, so that counting costs nothing on the data path."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Since the start of the process.

    Attributes:
        decisions: by slug; `allow` for the allowed.
        outcomes: by outcome.
        redactions: secrets replaced in answers.
        request_bytes, response_bytes: bodies carried.
    """

    decisions: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    redactions: int = 0
    request_bytes: int = 0
    response_bytes: int = 0

    @property
    def allowed(self) -> int:
        """Requests that were allowed."""
        return self.decisions["allow"]

    @property
    def refused(self) -> int:
        """Requests that were refused."""
        return self.decisions.total() - self.decisions["allow"]

    def ended(self, outcome: str, redactions: int, request_bytes: int, response_bytes: int) -> None:
        """Count one call that was allowed and is over."""
        self.outcomes[outcome] += 1
        self.redactions += redactions
        self.request_bytes += request_bytes
        self.response_bytes += response_bytes
