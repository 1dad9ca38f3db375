"""The states of an approval, which may follow which, and until when. Pure.

pending ──> approved ──> consumed
   │            └──────> expired
   ├──> rejected
   ├──> expired
   └──> withdrawn
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from proxy.model import Strength

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(StrEnum):
    """Where an approval stands."""

    PENDING = "pending"  # nobody has decided
    APPROVED = "approved"  # may be used once, until `use_by`
    REJECTED = "rejected"
    EXPIRED = "expired"  # nobody decided, or used it, in time
    WITHDRAWN = "withdrawn"  # whoever asked went away
    CONSUMED = "consumed"  # used: one request left with it


FOLLOWING: Final[Mapping[State, frozenset[State]]] = {
    State.PENDING: frozenset({State.APPROVED, State.REJECTED, State.EXPIRED, State.WITHDRAWN}),
    State.APPROVED: frozenset({State.CONSUMED, State.EXPIRED}),
    State.REJECTED: frozenset(),
    State.EXPIRED: frozenset(),
    State.WITHDRAWN: frozenset(),
    State.CONSUMED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on both clocks. `monotonic_s` compares only between moments of one `boot` of the machine."""

    wall_ms: int
    boot: str
    monotonic_s: float

    def later(self, seconds: float) -> Moment:
        """The moment that is so many seconds away."""
        return Moment(self.wall_ms + int(seconds * 1000), self.boot, self.monotonic_s + seconds)

    def reached(self, now: Moment) -> bool:
        """Whether `now` is at or after it, on either clock: setting a clock back gives no time (J-08)."""
        return now.wall_ms >= self.wall_ms or (now.boot == self.boot and now.monotonic_s >= self.monotonic_s)


@dataclass(frozen=True, slots=True)
class Vote:
    """What one approver said.

    Attributes:
        factor: id of the key with which they proved who they are; None where they did not.
        also: other names under which the same person decides, as far as we know: those are no second vote.
    """

    approver: str
    yes: bool
    factor: str | None = None
    also: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """All of theirs."""
        return self.also | {self.approver}


@dataclass(frozen=True, slots=True)
class Approval:
    """One question to a person, as its row says.

    Attributes:
        fingerprint: of the whole request, keyed.
        family: of its method, host and path, keyed: near-identical requests share it.
        needs: how many approvers must say yes.
        deadline: until when it can be decided; once it is approved, until when it can be used.
        receipt: of the request that used it.
    """

    id: str
    tenant: str
    agent: str
    user: str | None
    account: str
    profile: str
    operation: str
    fingerprint: str
    family: str
    state: State
    strength: Strength
    needs: int
    created_at_ms: int
    deadline: Moment
    votes: tuple[Vote, ...] = ()
    receipt: str | None = None

    @property
    def approvers(self) -> tuple[str, ...]:
        """Who has said yes."""
        return tuple(vote.approver for vote in self.votes if vote.yes)

    def standing(self, now: Moment) -> State:
        """Its state now: a deadline ends it, whether or not anybody has written that down."""
        if State.EXPIRED in FOLLOWING[self.state] and self.deadline.reached(now):
            return State.EXPIRED
        return self.state

    def decided_by(self, votes: tuple[Vote, ...]) -> State:
        """Where `votes` bring it: one no rejects; enough yeses, each of another approver, approve."""
        if any(not vote.yes for vote in votes):
            return State.REJECTED
        counted = {v.approver for v in votes if self.strength is not Strength.STRONG or v.factor is not None}
        return State.APPROVED if len(counted) >= self.needs else State.PENDING


@dataclass(frozen=True, slots=True)
class Refusing:
    """Nobody is asked: somebody said no to such a request a short while ago; for so much longer."""

    for_ms: int


@dataclass(frozen=True, slots=True)
class Crowded:
    """Nobody is asked: of this agent too many questions stand, or were answered with no or given up a short while ago.

    `for_ms`: until one of the latter counts no more; None where all of them stand.
    """

    for_ms: int | None
