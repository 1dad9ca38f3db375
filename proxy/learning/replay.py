"""What a proposal would have refused of calls that were seen. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.catalog.matcher import Catalog
from proxy.judging import plain_question, refusal
from proxy.learning.amounts import exceeding
from proxy.model import Strength

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from proxy.budget_settings import Budget
    from proxy.catalog.matcher import Match
    from proxy.catalog.schema import Profile
    from proxy.learning.seen import Seen
    from proxy.model import Agent, Mode
    from proxy.policy import Policies


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call, and the slug of what it would get."""

    call: Seen
    slug: str


def refused_by(
    calls: Iterable[Seen],
    *,
    profiles: Mapping[str, Profile],
    policies: Policies,
    budgets: Iterable[Budget],
    agents: Mapping[str, Agent],
    mode: Mode,
) -> Iterator[Refusal]:
    """Those of `calls` that `profiles`, `policies` and `budgets` do not let through as they went."""
    catalog, passed = Catalog(profiles.values()), []
    for call in calls:
        match = _match(catalog, call)
        agent = agents.get(call.agent)
        if match is None or match.operation is None or agent is None:
            yield Refusal(call, "operation_not_allowed")
            continue
        verdict = policies.judge(plain_question(agent, match, call.account, call.head, mode=mode, now_ms=call.at_ms))
        denied = refusal(verdict)
        if denied is not None:
            yield Refusal(call, denied.slug)
        elif verdict.strength > (Strength.APPROVAL if call.waited else Strength.NONE):
            yield Refusal(call, "approval_required")
        else:
            passed.append(call)
    for call in exceeding(passed, budgets):
        yield Refusal(call, "budget_exceeded")


def _match(catalog: Catalog, call: Seen) -> Match | None:
    """What the call is; where only its body told, what its receipt says."""
    match = catalog.match(call.head)
    if match is None:
        return None
    named = (one for one in (match, *match.others) if one.operation and one.operation.id == call.operation)
    return next(named, match)
