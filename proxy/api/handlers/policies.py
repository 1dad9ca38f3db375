"""/policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.policy_models import ExplainRequest, Explanation, PoliciesView, PolicyView, Why
from proxy.api.problems import ProblemError
from proxy.errors import Denial
from proxy.trial.explain import decided
from proxy.trial.request import head_of

if TYPE_CHECKING:
    from proxy.api.call import Call
    from proxy.decision import Decision, Generation


async def show(call: Call) -> PoliciesView:
    """The policies in force, as they were written."""
    generation = call.services.generation()
    settings = generation.settings
    return PoliciesView(
        version=generation.policies.version,
        preset=settings.policies.chosen(settings.mode),
        observe=settings.policies.observe,
        generation=generation.number,
        policies=[
            PolicyView(
                id=one.id, file=one.file, line=one.line, effect="permit" if one.permits else "forbid", text=one.text
            )
            for one in generation.policies.policies.values()
        ],
    )


async def explain(call: Call) -> Explanation:
    """What would be decided about a request now; nothing is sent, no approval is asked for."""
    asked, generation = call.sent(ExplainRequest), call.services.generation()
    agent = next((one for one in call.services.agents() if one.name == asked.agent), None)
    if agent is None or not call.operator.may_see(agent.tenant):
        raise ProblemError("not_found", "There is no such agent.")
    body = None if asked.body is None else asked.body.encode()
    headers = [(one.name, one.value) for one in asked.headers]
    head = head_of(generation, asked.method, asked.url, headers, body)
    if isinstance(head, Denial):
        return _explanation(head, generation)
    return _explanation(decided(generation, agent, head, body, now_ms=call.services.clock.wall_ms()), generation)


def _explanation(decided: Decision | Denial, generation: Generation) -> Explanation:
    mode = generation.settings.mode
    if isinstance(decided, Denial):
        named = decided.extra.get("policies", [])
        return Explanation(
            allowed=False,
            slug=decided.slug,
            detail=decided.detail,
            strength="none",
            policies=list(named) if isinstance(named, list) else [],
            reasons=[],
            observed=None,
            account=None,
            operation=None,
            mode=mode,
        )
    ruling, match = decided.ruling, decided.match
    operation = match.operation if match is not None else None
    return Explanation(
        allowed=True,
        slug=None,
        detail=None,
        strength=("none", "approval", "strong")[ruling.strength],
        policies=list(ruling.policies),
        reasons=[Why(code=one.code, text=one.text, by=one.by) for one in ruling.reasons],
        observed=ruling.observed,
        account=str(decided.account.id) if decided.account is not None else None,
        operation=f"{match.profile.name}:{operation.id}" if match is not None and operation is not None else None,
        mode=mode,
    )
