"""A call as the risk rules and the policies see it, and what they mean for it. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.credentials.strip import strip_foreign
from proxy.errors import Denial
from proxy.model import Called, Reason, Strength
from proxy.policy import Question
from proxy.risk import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.catalog.matcher import Match
    from proxy.catalog.schema import Operation
    from proxy.model import AccountId, Agent, Mode, RequestHead
    from proxy.policy import Verdict
    from proxy.risk import Circumstances, Risk, SecretShapes
    from proxy.risk_settings import RiskSettings, Thresholds

MAX_LOOKED_AT_BYTES: Final = 256 * 1024
"""The longest body that is held only to be looked at."""


NOT_COVERED: Final = Denial("policy_denied", "The task token does not cover this call.", by="policy")
UNREDACTABLE: Final = Denial(
    "policy_denied", "Policies want parts of the answer taken out, which a WebSocket does not allow.", by="policy"
)
CLOCK_JUMPED: Final = Denial("policy_unavailable", "A policy asks for the time, and the clock has jumped.", by="policy")


def permitted(agent: Agent, match: Match | None, account: AccountId | None, head: RequestHead, now_ms: int) -> bool:
    """Whether the limits of the agent's task token, where it has one, cover a call with this account."""
    if agent.session is None:
        return True
    operation = match.operation if match is not None else None
    called = Called(now_ms, head.authority.host, head.method, head.path)
    if match is not None and operation is not None:
        called = replace(
            called,
            account=None if account is None else str(account),
            provider=match.profile.name,
            operation=f"{match.profile.name}:{operation.id}",
            action=operation.action,
        )
    return agent.session.permits(called)


def call_of(
    match: Match,
    head: RequestHead,
    body: bytes | None,
    *,
    now_ms: int,
    circumstances: Circumstances,
    settings: RiskSettings,
    shapes: SecretShapes,
    mask: Callable[[str], str],
) -> Call:
    """A call of a listed operation as the risk rules see it: without credentials and, by `mask`, without stand-ins."""
    operation = match.operation
    assert operation is not None
    return Call(
        head=without_credentials(head, match, frozenset()),
        body=body,
        use=(match.profile.name, operation.id),
        action=operation.action,
        now_ms=now_ms,
        circumstances=circumstances,
        settings=settings,
        shapes=shapes,
        awaited=body is None and head.has_body and settings.holds_bodies and _fits(operation, head),
        mask=mask,
    )


def _fits(operation: Operation, head: RequestHead) -> bool:
    """Whether the body may be held; one of unknown length is tried."""
    return (head.content_length or 0) <= min(MAX_LOOKED_AT_BYTES, operation.limits.max_held_bytes)


def without_credentials(head: RequestHead, match: Match, read: frozenset[str]) -> RequestHead:
    """Without anything the agent brought that could act as a credential or choose whose account is used (D-02).

    `read` are headers that stay, because the credential kind reads them and takes them off.
    """
    profile = match.profile
    return strip_foreign(
        head,
        strip_headers=profile.strip_headers,
        strip_query=profile.strip_query,
        owned_headers=profile.owned_headers,
        owned_query=profile.owned_query,
        read=read,
    )


def question_of(
    agent: Agent,
    match: Match,
    account: str,
    head: RequestHead,
    *,
    mode: Mode,
    call: Call,
    risk: Risk,
    fields: Mapping[str, str | int | bool],
    cost_microusd: int = 0,
    left_microusd: int | None = None,
    body_bytes: int | None = None,
) -> Question:
    """What is asked of the policies about a call of a listed operation; `body_bytes` of the batch that it is in."""
    if body_bytes is None:
        body_bytes = head.content_length if call.body is None else len(call.body)
    return replace(
        plain_question(agent, match, account, head, mode=mode, now_ms=call.now_ms),
        fields=fields,
        first_use=call.circumstances.first_use(call.use),
        body_bytes=body_bytes,
        risk=risk.score,
        risk_reasons=risk.codes,
        cost_microusd=cost_microusd,
        budget_left_microusd=left_microusd,
    )


def plain_question(agent: Agent, match: Match, account: str, head: RequestHead, *, mode: Mode, now_ms: int) -> Question:
    """As `question_of`, of a call of which no more is known than its head: without risk, cost or body."""
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
    )


def too_risky(risk: Risk, thresholds: Thresholds) -> Denial | None:
    """The refusal of a call whose score is too high. It names rules, never what they found."""
    if not risk.refused(thresholds):
        return None
    extra = {"risk_reasons": list(risk.codes)}
    return Denial("policy_denied", "The risk of this call is too high.", by="risk", extra=extra)


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


def otherwise(verdict: Verdict, other: Verdict) -> str | None:
    """What `other` policies say, in the words of receipts; None where it is what `verdict` says."""
    said = _said(other)
    return None if said == _said(verdict) else said


def _said(verdict: Verdict) -> str:
    refused = refusal(verdict)
    return refused.slug if refused is not None else _SAID[verdict.strength]


_SAID: Final = {Strength.NONE: "allow", Strength.APPROVAL: "approval", Strength.STRONG: "strong"}


def reasons(verdict: Verdict) -> tuple[Reason, ...]:
    """Why a person is to be asked."""
    match verdict.strength:
        case Strength.NONE:
            return ()
        case Strength.APPROVAL:
            return (Reason("policy", "The policies want an approval for this call.", "policy"),)
        case Strength.STRONG:
            return (Reason("policy_strong", "The policies want a strong approval for this call.", "policy"),)
