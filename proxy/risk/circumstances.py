"""What is known around a call when it is decided on: values that services have read before. Pure.

What is not known counts as the worst there is (P5, I-12).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from proxy.model import Strength

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HOUR_MS: Final = 3_600_000
type Use = tuple[str, str]
"""Profile and operation."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How often one agent has called one operation.

    Attributes:
        hour: the last one with a call, in hours since 1970.
        calls: in that hour.
        peak: the most in any hour of the week before it.
    """

    hour: int
    calls: int
    peak: int = 0

    def during(self, hour: int) -> int:
        """Calls in `hour`, which is not before the last one."""
        return self.calls if hour == self.hour else 0

    def peak_before(self, hour: int) -> int:
        """The most in any hour before `hour`."""
        return max(self.peak, self.calls) if hour > self.hour else self.peak

    def plus(self, hour: int) -> Usage:
        """With one more call in `hour`; one that comes late counts to the last hour."""
        if hour <= self.hour:
            return replace(self, calls=self.calls + 1)
        return Usage(hour, 1, self.peak_before(hour))


@dataclass(frozen=True, slots=True)
class Past:
    """What one agent has been allowed to call before.

    Attributes:
        hosts: that it has called.
    """

    uses: Mapping[Use, Usage] = field(default_factory=dict)
    hosts: frozenset[str] = frozenset()

    def plus(self, use: Use, host: str, hour: int) -> Past:
        """With one more call."""
        usage = self.uses.get(use)
        more = Usage(hour, 1) if usage is None else usage.plus(hour)
        hosts = self.hosts if host in self.hosts else self.hosts | {host}
        return Past({**self.uses, use: more}, hosts)


@dataclass(frozen=True, slots=True)
class Advice:
    """What an external classifier said, or what stands for it where it said nothing.

    Attributes:
        score: 0 to 100, in addition to the rules'.
        codes: its reasons, each a short name.
        strength: what must happen at least.
        available: False: it was asked and did not answer.
    """

    score: int = 0
    codes: tuple[str, ...] = ()
    strength: Strength = Strength.NONE
    available: bool = True

    def joined(self, other: Advice) -> Advice:
        """The stricter of both in every respect."""
        return Advice(
            max(self.score, other.score),
            tuple(dict.fromkeys((*self.codes, *other.codes))),
            max(self.strength, other.strength),
            self.available and other.available,
        )


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Of one call.

    Attributes:
        past: of its agent; None where it cannot be known.
        advice: of the external classifier; None where it has not been asked.
        clock_jumped: the time of day cannot be relied on.
    """

    past: Past | None = None
    advice: Advice | None = None
    clock_jumped: bool = False

    def first_use(self, use: Use) -> bool:
        """Whether the agent has never called the operation, as far as is known."""
        return self.past is None or use not in self.past.uses

    def advised(self, advice: Advice) -> Circumstances:
        """With what the classifier says, on top of what it said before."""
        return replace(self, advice=advice if self.advice is None else self.advice.joined(advice))


UNKNOWN: Final = Circumstances()
"""Nothing is known."""


def accustomed(uses: Iterable[Use], host: str, now_ms: int) -> Circumstances:
    """Of an agent that has just made such calls: for questions about policies, which are about no call in particular.

    `uses` is all that the call may be; nothing where no profile lists it.
    """
    past = Past()
    for use in uses:
        past = past.plus(use, host, now_ms // HOUR_MS)
    return Circumstances(past, Advice())
