"""What the real `decide()` says of one request, and why, in sentences. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from proxy.decision import decide
from proxy.errors import Denial
from proxy.model import Strength
from proxy.policy.vocabulary import WITHOUT_APPROVAL, WITHOUT_STRONG
from proxy.risk.circumstances import accustomed
from proxy.trial.request import head_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.decision import Decision, Generation
    from proxy.model import Agent, RequestHead
    from proxy.policy.statement import Policy


class Outcome(StrEnum):
    """What becomes of a call."""

    ALLOW = "allow"
    APPROVAL = "approval"
    STRONG = "strong"
    DENY = "deny"


ASKED: Final = {Strength.NONE: Outcome.ALLOW, Strength.APPROVAL: Outcome.APPROVAL, Strength.STRONG: Outcome.STRONG}
_RESERVED: Final = {Strength.APPROVAL: WITHOUT_APPROVAL, Strength.STRONG: WITHOUT_STRONG}


@dataclass(frozen=True, slots=True)
class Trial:
    """A request that is tried.

    Attributes:
        account: `provider/name` of the one that is meant; None: as for a request that names none.
        body: None for a request without one.
    """

    method: str
    url: str
    agent: Agent
    now_ms: int
    account: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was decided, and by what.

    Attributes:
        operation: `profile:operation`; None where no profile lists the call.
        slug: of the refusal; None where the call is allowed, or may be after an approval.
        by: the step of the pipeline that refused.
        policies: those that decided, in the order of their ids.
        observed: the slug of what would have refused it, where policies are only observed.
        sentences: why, each a whole sentence.
    """

    outcome: Outcome
    operation: str | None
    action: str | None
    account: str | None
    credential: str | None
    slug: str | None
    by: str | None
    policies: tuple[Policy, ...]
    observed: str | None
    sentences: tuple[str, ...]


def explained(generation: Generation, trial: Trial) -> Explanation:
    """What `decide()` says of `trial`."""
    head = head_of(generation, trial.method, trial.url, trial.headers, trial.body)
    if isinstance(head, Denial):
        return _refused(generation, trial.agent, None, head)
    agent = _limited(trial.agent, trial.account)
    if isinstance(agent, Denial):
        return _refused(generation, trial.agent, head, agent)
    decision = decided(generation, agent, head, trial.body, now_ms=trial.now_ms)
    if isinstance(decision, Denial):
        return _refused(generation, agent, head, decision)
    return _allowed(generation, agent, decision)


def decided(
    generation: Generation, agent: Agent, head: RequestHead, body: bytes | None, *, now_ms: int
) -> Decision | Denial:
    """What `decide()` says where the agent has made such calls before."""
    match = generation.catalog.match(head)
    ways = (match, *match.others) if match is not None else ()
    uses = [(one.profile.name, one.operation.id) for one in ways if one.operation is not None]
    circumstances = accustomed(uses, head.authority.host, now_ms)
    decision = decide(generation, agent, head, now_ms=now_ms, circumstances=circumstances)
    if not isinstance(decision, Denial) and decision.wants_body:
        return decide(generation, agent, decision.head, body or b"", now_ms=now_ms, circumstances=circumstances)
    return decision


def _limited(agent: Agent, account: str | None) -> Agent | Denial:
    """`agent` as if it held the stand-ins of `account` alone."""
    if account is None:
        return agent
    provider, _, _ = account.partition("/")
    if not any(grant in ("*", f"{provider}/*", account) for grant in agent.accounts):
        return Denial("policy_denied", "This agent may not use that account.", by="policy")
    return replace(agent, accounts=(account,))


def _refused(generation: Generation, agent: Agent, head: RequestHead | None, denial: Denial) -> Explanation:
    match = generation.catalog.match(head) if head is not None else None
    operation = match.operation if match is not None else None
    named = denial.extra.get("policies", ())
    decided = _policies(generation, agent, named if isinstance(named, list) else ())
    return Explanation(
        outcome=Outcome.DENY,
        operation=f"{match.profile.name}:{operation.id}" if match is not None and operation is not None else None,
        action=operation.action.value if operation is not None else None,
        account=None,
        credential=None,
        slug=denial.slug,
        by=denial.by,
        policies=decided,
        observed=None,
        sentences=(
            denial.detail,
            *(_named(policy) for policy in decided),
            *_beside(denial.candidate),
            denial.kind.advice,
        ),
    )


def _allowed(generation: Generation, agent: Agent, decision: Decision) -> Explanation:
    ruling, match = decision.ruling, decision.match
    if match is None or match.operation is None:
        return Explanation(
            Outcome.ALLOW, None, None, None, None, None, None, (), None,
            ("No profile covers this host; `unmatched: pass` lets it through.",),
        )  # fmt: skip
    decided = _policies(generation, agent, ruling.policies)
    return Explanation(
        outcome=ASKED[ruling.strength],
        operation=f"{match.profile.name}:{match.operation.id}",
        action=match.operation.action.value,
        account=str(decision.account.id) if decision.account is not None else None,
        credential=decision.credential[0] if decision.credential is not None else None,
        slug=None,
        by=None,
        policies=decided,
        observed=ruling.observed,
        sentences=tuple(_why(decision, decided)),
    )


def _why(decision: Decision, decided: tuple[Policy, ...]) -> Iterator[str]:
    ruling = decision.ruling
    if decision.several and decision.match is not None:
        each = ", ".join(f"{calls} of {name}" for name, calls in sorted(decision.match.calls.items()))
        yield f"It makes several calls in one, and all may be made: {each}."
    if ruling.observed is not None:
        yield f"Policies are only observed: in force, they would answer {ruling.observed}."
    yield from (reason.text for reason in ruling.reasons)
    if any(reason.by == "policy" for reason in ruling.reasons):
        yield from _asked_by(ruling.strength, decided)
    yield from (_named(policy) for policy in decided)
    for limit in ruling.limits:
        yield f"{limit.policy} lets each agent make {limit.calls} calls within {limit.per_s} s."
    if ruling.redact:
        yield f"Taken out of the answer: {', '.join(ruling.redact)}."
    yield from _beside(ruling.candidate)


def _beside(candidate: str | None) -> Iterator[str]:
    if candidate is not None:
        yield f"The candidate policies, which do not decide for this agent yet, would answer {candidate}."


def _asked_by(strength: Strength, decided: tuple[Policy, ...]) -> Iterator[str]:
    """What of the policies asks for the approval: an annotation, a forbid, or that no policy permits to do without."""
    annotated = [policy.id for policy in decided if policy.permits and policy.strength >= strength]
    action = _RESERVED[strength]
    forbidding = [policy.id for policy in decided if not policy.permits]
    if annotated:
        yield f"It is asked for by @approval of {', '.join(annotated)}."
    elif forbidding:
        yield f"Doing without one is forbidden by {', '.join(forbidding)}."
    else:
        yield f"No policy permits {action} for it."


def _named(policy: Policy) -> str:
    does = "permits it" if policy.permits else "forbids it"
    if policy.actions and policy.actions <= {WITHOUT_APPROVAL, WITHOUT_STRONG}:
        does = "lets" if policy.permits else "does not let"
        does += " it do without " + ("an approval" if WITHOUT_APPROVAL in policy.actions else "a strong approval")
    said = policy.annotations.get("description") or policy.annotations.get("advice")
    return f"{policy.id} ({policy.file}:{policy.line}) {does}{f': {said}' if said else '.'}"


def _policies(generation: Generation, agent: Agent, ids: tuple[str, ...] | list[str]) -> tuple[Policy, ...]:
    known = generation.policies_for(agent).policies
    return tuple(known[id_] for id_ in sorted(ids) if id_ in known)
