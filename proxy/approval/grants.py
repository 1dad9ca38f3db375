"""Standing grants: requests of one operation that an approver lets go for a time, so many times, up to a cost. Pure.

A grant is narrower than a policy: one agent (and the user it acts for), one account, one operation, one method, one
origin, paths of one template, under the profile and the policies in force when it was made (J-05, J-13). What it does
not cover is asked for as if it were not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.model import Strength

if TYPE_CHECKING:
    from proxy.approval.fingerprint import Asked
    from proxy.approval.states import Moment, Vote

MAX_S: Final = 24 * 3600
MAX_USES: Final = 1000
ANSWERED: Final = frozenset(("first_use", "new_destination"))
"""Risks that whoever makes a grant has answered: it names agent, operation and host."""
ANY: Final = "*"
"""In a path template: any one segment."""


class BadTermsError(Exception):
    """Such a grant cannot be made. The text is ours."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which requests.

    Attributes:
        life: which agent of this name, see `Agent`.
        user: whom the agent acts for; None is nobody, not anybody.
        profile_version: of the profile and the account's settings.
        origin: `https://host:port`.
        path: a template; `*` in place of one whole segment stands for any.
    """

    tenant: str
    agent: str
    user: str | None
    account: str
    profile: str
    profile_version: str
    operation: str
    policy_version: str
    method: str
    origin: str
    path: str
    life: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """How long, how often, and how expensive each request may be."""

    for_s: int
    max_uses: int
    max_cost_microusd: int

    def check(self) -> None:
        """Raises `BadTermsError` for what goes beyond what any grant may be."""
        if not 1 <= self.for_s <= MAX_S:
            raise BadTermsError(f"a grant lasts from 1 to {MAX_S} seconds")
        if not 1 <= self.max_uses <= MAX_USES:
            raise BadTermsError(f"a grant is for 1 to {MAX_USES} uses")
        if self.max_cost_microusd < 0:
            raise BadTermsError("a cost is not negative")


@dataclass(frozen=True, slots=True)
class Grant:
    """One standing grant, as its rows say.

    Attributes:
        votes: of the approvers who stand behind it, all of them yes.
        deadline: from then on it covers nothing.
        approval: the one that it was made from; None where an approver made it by itself.
    """

    id: str
    scope: Scope
    terms: Terms
    votes: tuple[Vote, ...]
    uses: int
    created_at_ms: int
    deadline: Moment
    revoked_at_ms: int | None
    revoked_by: str | None
    approval: str | None
    reason: str

    @property
    def approvers(self) -> tuple[str, ...]:
        """Who stands behind it."""
        return tuple(vote.approver for vote in self.votes)

    def alive(self, now: Moment) -> bool:
        """Whether it covers anything at all any more."""
        return self.revoked_at_ms is None and self.uses < self.terms.max_uses and not self.deadline.reached(now)

    def covers(self, asked: Asked) -> bool:
        """Whether `asked` is one of its requests, and enough approvers stand behind it for that one.

        It does not cover a call that a budget or a credential in doubt wants a person for, or of which a risk rule
        notices more than that it is new: those are about one call, and nobody has looked at this one.
        """
        scope, terms = self.scope, self.terms
        behind = {vote.approver for vote in self.votes if asked.strength is not Strength.STRONG or vote.factor}
        return (
            scope_of(asked, scope.path) == scope
            and path_matches(scope.path, asked.head.path)
            and 0 <= asked.cost_microusd <= terms.max_cost_microusd
            and len(behind) >= asked.needs
            and all(one.by == "policy" or (one.by == "risk" and one.code in ANSWERED) for one in asked.reasons)
        )


def scope_of(asked: Asked, path: str) -> Scope:
    """The scope that has everything of `asked` but its path."""
    agent, head = asked.agent, asked.head
    return Scope(
        tenant=agent.tenant,
        agent=agent.name,
        user=agent.user.name if agent.user is not None else None,
        account=asked.account,
        profile=asked.profile,
        profile_version=asked.profile_version,
        operation=asked.operation,
        policy_version=asked.policy_version,
        method=head.method,
        origin=f"{head.scheme}://{head.authority.host}:{head.authority.port}",
        path=path,
        life=agent.life,
    )


def path_matches(template: str, path: str) -> bool:
    """Whether canonical `path` has the template's segments; `*` stands for one that is not empty."""
    wanted, given = template.split("/"), path.split("/")
    return len(wanted) == len(given) and all(
        one == other or (one == ANY and other != "") for one, other in zip(wanted, given, strict=True)
    )


def check_path(template: str, path: str) -> None:
    """Raises `BadTermsError` unless `template` covers `path` and says at least one of its segments.

    A path that itself has a segment `*` has no template: an agent must not choose what is open (J-05).
    """
    if ANY in path.split("/") or "\\" in path:
        raise BadTermsError("this path cannot be granted: it holds a sign that templates use")
    if not path_matches(template, path):
        raise BadTermsError("the path of a grant covers the path that was asked for")
    segments = [one for one in template.split("/") if one]
    if segments and all(one == ANY for one in segments):
        raise BadTermsError("the path of a grant names at least one segment")
