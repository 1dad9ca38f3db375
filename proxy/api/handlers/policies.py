"""/policies."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from proxy.api.models import Done
from proxy.api.policy_models import (
    Confirmation,
    ExplainRequest,
    Explanation,
    PendingPolicies,
    PendingView,
    PoliciesView,
    PolicyView,
    Why,
)
from proxy.api.problems import ProblemError
from proxy.db.threads import in_thread
from proxy.errors import BriefcaseError, Denial
from proxy.policy_standing import Wish
from proxy.trial.explain import decided
from proxy.trial.matrix import agent_of
from proxy.trial.request import head_of
from proxy.trial.widening import POLICY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from proxy.api.call import Call
    from proxy.decision import Decision, Generation
    from proxy.enforcing import Enforcing
    from proxy.policy_versions import Version

_log: Final = logging.getLogger("proxy.api")


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


async def pending(call: Call) -> PendingView:
    """What waits for a confirmation."""
    enforcing = call.services.enforcing
    found = await in_thread(enforcing.pending) if enforcing is not None else None
    return PendingView(pending=[] if found is None else [_pending(found, call)])


async def confirm(call: Call) -> Done:
    """Let a set that allows more take effect, at once or by a reload that follows at once (I-05)."""
    asked, enforcing = call.sent(Confirmation), call.services.enforcing
    call.require_all_tenants()
    found = await in_thread(enforcing.pending) if enforcing is not None else None
    if enforcing is None or found is None or found.number != asked.version:
        raise ProblemError("not_found", "No such version waits.")
    target = f"version {found.number}"
    if enforcing.unfit(found, call.operator):
        await call.record("policies_confirm", target, refused="own_request")
        raise ProblemError("own_request", "Whoever wrote it does not confirm it.")
    await call.record("policies_confirm", target, digest=found.digest)
    await in_thread(enforcing.confirm, found, call.operator)
    if not await _is_back(call, enforcing, found):
        enforcing.confirmed.set()
    return Done()


async def _is_back(call: Call, enforcing: Enforcing, confirmed: Version) -> bool:
    """Whether an earlier set is in force now, to which it takes no reload: that would begin with what the files say."""
    if confirmed.restores is None:
        return False
    wish = Wish(confirmed.restores, confirmed.author, confirmed.authors, confirmed.reason)
    try:
        if not await in_thread(enforcing.is_of_now, confirmed):
            return False
        await call.services.roll_back(wish)
    except BriefcaseError as error:
        _log.warning("version %d of the policies is left to a reload: %s", confirmed.number, error)
        return False
    return True


def _pending(version: Version, call: Call) -> PendingPolicies:
    """Of another tenant's agents, accounts and users nothing is told."""
    return PendingPolicies(
        version=version.number,
        digest=version.digest,
        author=version.author,
        authors=list(version.authors),
        reason=version.reason,
        restores=version.restores,
        at_ms=version.at_ms,
        wider=list(version.waits if call.operator.tenant is None else _of_tenant(version.waits, call)),
    )


def _of_tenant(waits: Iterable[str], call: Call) -> Iterator[str]:
    """What an operator of one tenant may know: of their own agents' calls, and of policies, which they may read."""
    seen = {agent.name for agent in call.agents()}
    others = False
    for one in waits:
        agent = agent_of(one)
        if agent in seen or POLICY.fullmatch(one):
            yield one
        elif agent is None:
            others = True
    if others:
        yield "settings or profiles may let more through"


async def explain(call: Call) -> Explanation:
    """What would be decided about a request now; nothing is sent, no approval is asked for."""
    asked, generation = call.sent(ExplainRequest), call.services.generation()
    agent = call.agent(asked.agent)
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
