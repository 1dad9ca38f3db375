"""A call as the policies see it, and what their verdict means for it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.errors import Denial
from proxy.model import Reason, Strength
from proxy.policy import Question

if TYPE_CHECKING:
    from proxy.catalog.matcher import Match
    from proxy.model import Agent, Mode, RequestHead
    from proxy.policy import Verdict


def question_of(
    agent: Agent,
    match: Match,
    account: str,
    head: RequestHead,
    *,
    mode: Mode,
    now_ms: int,
    cost_microusd: int = 0,
    left_microusd: int | None = None,
) -> Question:
    """What is asked of the policies about a call of a listed operation."""
    profile, operation = match.profile, match.operation
    assert operation is not None
    return Question(
        agent=agent,
        profile=profile.name,
        provider=profile.provider or profile.name,
        operation=operation.id,
        action=operation.action,
        head=head,
        account=account,
        mode=mode,
        now_ms=now_ms,
        params=match.params,
        data_class=operation.data_class or "",
        body_bytes=head.content_length,
        cost_microusd=cost_microusd,
        budget_left_microusd=left_microusd,
    )


def refusal(verdict: Verdict) -> Denial | None:
    """What the agent is told where the policies do not allow the call: ids of those that decided, and their advice."""
    extra = {name: list(values) for name, values in (("policies", verdict.policies), ("policy_advice", verdict.advice))}
    extra = {name: values for name, values in extra.items() if values}
    if verdict.failed:
        return Denial("policy_unavailable", "A policy could not be evaluated for this call.", by="policy", extra=extra)
    if verdict.allowed:
        return None
    if verdict.policies:
        return Denial("policy_denied", "A policy forbids this call.", by="policy", extra=extra)
    return Denial("policy_denied", "No policy permits this call.", by="policy")


def reasons(verdict: Verdict) -> tuple[Reason, ...]:
    """Why a person is to be asked."""
    match verdict.strength:
        case Strength.NONE:
            return ()
        case Strength.APPROVAL:
            return (Reason("policy", "The policies want an approval for this call.", "policy"),)
        case Strength.STRONG:
            return (Reason("policy_strong", "The policies want a strong approval for this call.", "policy"),)
