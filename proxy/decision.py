"""`decide()`: whether an agent may make a request, and with which account. Pure.

The simulator, the tests and the live path call the same function.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from proxy.batching import together
from proxy.budget.meters.estimate import NOTHING
from proxy.budget_settings import USD
from proxy.credentials.kind import filled
from proxy.decided import Decision, Generation, Ruling
from proxy.errors import Denial
from proxy.estimating import estimated, usage_of
from proxy.identifying import account_for, cleaned, credentials_for, match_of, stand_ins_in
from proxy.judging import (
    CLOCK_JUMPED,
    NOT_COVERED,
    UNREDACTABLE,
    call_of,
    otherwise,
    permitted,
    question_of,
    reasons,
    refusal,
    too_risky,
)
from proxy.model import HTTPS_PORT
from proxy.risk import UNKNOWN, score
from proxy.validating import checked, settled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.batching import Whole
    from proxy.catalog.binding import BoundAccount
    from proxy.catalog.matcher import Match
    from proxy.catalog.schema import Operation
    from proxy.model import Agent, RequestHead
    from proxy.risk import Call, Circumstances

__all__ = ["Decision", "Generation", "Ruling", "decide"]


def decide(
    generation: Generation,
    agent: Agent,
    head: RequestHead,
    body: bytes | None = None,
    *,
    now_ms: int,
    circumstances: Circumstances = UNKNOWN,
    left_microusd: int | None = None,
) -> Decision | Denial:
    """Whether `agent` may make this request at `now_ms`, and with which account. Pure.

    `body` is only looked at, and only asked for (`Decision.wants_body`), where the operation or the settings say so.
    What `circumstances` do not say counts as the worst. `left_microusd` is what budgets have left, where it is known.
    """
    match = match_of(generation, agent, head, body)
    if match is None:
        return _unmatched(generation, head) if permitted(agent, None, None, head, now_ms) else NOT_COVERED
    certain = settled(match, head, body)
    if certain is None:
        return Decision(head, match, None, None, wants_body=True)
    if isinstance(certain, Denial):
        return certain
    judge = partial(
        _decided, generation, agent, head, now_ms=now_ms, circumstances=circumstances, left_microusd=left_microusd
    )
    if not certain.parts:
        return judge(certain, body)
    return together(
        certain, _call_of(generation, certain, head, body, now_ms=now_ms, circumstances=circumstances), judge
    )


def _decided(
    generation: Generation,
    agent: Agent,
    head: RequestHead,
    match: Match,
    body: bytes | None,
    *,
    now_ms: int,
    circumstances: Circumstances,
    left_microusd: int | None,
    whole: Whole | None = None,
) -> Decision | Denial:
    """Whether one call may be made; of a batch, `body` is its own part, and `whole` what is known of all of it."""
    operation = match.operation
    assert operation is not None
    found = stand_ins_in(generation, head, body if operation.reads_body else None)
    account = account_for(generation, agent, match, found, lambda one: permitted(agent, match, one, head, now_ms))
    if isinstance(account, Denial):
        return account
    clean = cleaned(head, match, account, frozenset())
    valid = _unfit(match, operation, account, head) or checked(generation.catalog, match, clean, body)
    if isinstance(valid, Denial):
        return valid
    call = _call_of(generation, match, head, body, now_ms=now_ms, circumstances=circumstances)
    counts = generation.estimates
    if counts and usage_of(match) is not None and head.has_body and body is None:
        return Decision(head, match, None, None, wants_body=True)
    length = None if whole is None else whole.body_bytes
    estimate = estimated(generation.settings, match, head, body, now_ms=now_ms, sent=length) if counts else NOTHING
    ruling = _ruled(
        generation,
        agent,
        match,
        account,
        head,
        call,
        fields=valid.fields,
        cost_microusd=estimate.most.get(USD, 0),
        left_microusd=left_microusd,
        whole=whole,
    )
    if isinstance(ruling, Denial):
        return ruling
    captured = {one.slot: one.captured for one in found if one.captured is not None}
    credentials = credentials_for(account, operation, found, captured)
    if isinstance(credentials, Denial):
        return credentials
    plain = Decision(
        clean, match, account, None, bool(found), captured, ruling, estimate, call.awaited, valid.fields, call=call
    )
    decision: Decision | None = None
    for credential in reversed(credentials):
        reads = credential[1].reads
        sent = cleaned(head, match, account, reads) if reads else clean
        decision = replace(plain, head=sent, credential=credential, otherwise=decision)
    return decision or plain


def _call_of(
    generation: Generation,
    match: Match,
    head: RequestHead,
    body: bytes | None,
    *,
    now_ms: int,
    circumstances: Circumstances,
) -> Call:
    return call_of(
        match,
        head,
        body,
        now_ms=now_ms,
        circumstances=circumstances,
        settings=generation.settings.risk,
        shapes=generation.secret_shapes,
        mask=generation.stand_ins.mask,
    )


def _ruled(
    generation: Generation,
    agent: Agent,
    match: Match,
    account: BoundAccount,
    head: RequestHead,
    call: Call,
    *,
    fields: Mapping[str, str | int | bool],
    cost_microusd: int,
    left_microusd: int | None,
    whole: Whole | None,
) -> Ruling | Denial:
    """What policies and risk say. Policies that are only observed let through what they would refuse; risk does not."""
    settings = generation.settings
    risk = score(call) if whole is None else whole.risk.joined(score(call))
    question = question_of(
        agent,
        match,
        str(account.id),
        head,
        mode=settings.mode,
        call=call,
        risk=risk,
        fields=fields,
        cost_microusd=cost_microusd,
        left_microusd=left_microusd,
        body_bytes=None if whole is None else whole.body_bytes,
    )
    policies = generation.policies_for(agent)
    verdict = policies.judge(question)
    beside = generation.policies_beside(agent)
    candidate = otherwise(verdict, beside.judge(question)) if beside is not None else None
    doubted = call.circumstances.clock_jumped and policies.asks_time(question)
    refused = CLOCK_JUMPED if doubted else refusal(verdict)
    if refused is not None and not settings.policies.observe:
        return replace(refused, candidate=candidate)
    if verdict.redact and head.websocket and not settings.policies.observe:
        return replace(UNREDACTABLE, candidate=candidate)
    ruling = Ruling(
        verdict.strength,
        reasons(verdict),
        verdict.policies,
        candidate=candidate,
        redact=verdict.redact,
        limits=verdict.limits,
    )
    if settings.policies.observe:
        ruling = _observed(ruling, refused)
    thresholds = settings.risk.thresholds(match.profile.name, settings.mode)
    return too_risky(risk, thresholds) or ruling.weighed(risk, thresholds)


def _observed(ruling: Ruling, refused: Denial | None) -> Ruling:
    """What policies want is only noted."""
    wanted = refused.slug if refused is not None else "approval_required" if ruling.strength else None
    return Ruling(policies=ruling.policies, observed=wanted, candidate=ruling.candidate)


def _unfit(match: Match, operation: Operation, account: BoundAccount, head: RequestHead) -> Denial | None:
    """Why the call can never be made with this account."""
    if operation.action not in account.account.actions:
        return Denial("policy_denied", f"The account does not allow {operation.action} operations.", by="policy")
    wanted_host = match.host_rule.account_host
    if wanted_host is not None and head.authority.host != filled(wanted_host, account.variables):
        return Denial("credential_scope", "This host is not the account's own.", by="match")
    return None


def _unmatched(generation: Generation, head: RequestHead) -> Decision | Denial:
    catalog, authority = generation.catalog, head.authority
    if catalog.host(authority.host, authority.port) is not None:
        return Denial("operation_not_allowed", "No profile covers this part of the host.", by="match")
    if head.scheme == "http" and catalog.host(authority.host, HTTPS_PORT) is not None:
        return Denial("credential_scope", "This provider is reached over https only.", by="match")
    if generation.stand_ins.find(head):
        return Denial("credential_scope", "A stand-in works at its own provider only.", by="identify")
    if generation.settings.unmatched == "pass":
        return Decision(head, None, None, None)
    return Denial("destination_not_allowed", "No enabled profile covers this host.", by="match")
