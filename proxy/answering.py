"""A call that the sidecar answers itself: an agent's own token call, with the agent's stand-ins in the reply. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.canonical import query_pairs
from proxy.credentials.answers.fields import body_fields, has_fields
from proxy.credentials.answers.kind import Asked, Holder
from proxy.errors import Answer, Denial

if TYPE_CHECKING:
    from proxy.catalog.binding import BoundAccount
    from proxy.credentials.answers.fields import Pairs
    from proxy.decision import Decision, Generation
    from proxy.exchange import Exchange
    from proxy.model import Agent


def local_answer(
    generation: Generation, exchange: Exchange, decision: Decision, body: bytes | None, *, now_s: int
) -> Answer | Denial | None:
    """What the agent gets without a dial; None where the call goes to the provider.

    Notes on `exchange` what its receipts say of it.
    """
    match, account = decision.match, decision.account
    if match is None or match.operation is None or account is None or match.operation.answer is None:
        return None
    spec = match.operation.answer
    agent = exchange.tunnel.agent
    fields = body_fields(decision.head, body or b"")
    if fields is None:
        return Denial("invalid_request", "The body is not a form or a JSON object.", by="validate")
    given = (*query_pairs(decision.head.query), *fields)
    if _is_ambiguous(given, spec.deciding()):
        return Denial("invalid_request", "A field that decides about this call is there twice.", by="validate")
    found: dict[str, str] = {}
    for name, value in given:
        found.setdefault(name, value)
    accounts = generation.accounts.get(match.profile.name, ())
    asked = Asked(
        head=decision.head,
        params=match.params,
        fields=found,
        holder=_holder(generation, agent, account),
        holders=tuple(_holder(generation, agent, one) for one in accounts if agent.may_use(one.id, one.tenant)),
        named=decision.named,
        now_s=now_s,
    )
    answer = spec.answer(asked)
    if answer is not None:
        exchange.answered, exchange.status = spec.kind, answer.status
        return answer
    unread = bool(body) and not has_fields(decision.head)
    if not match.operation.may_leave or unread or not spec.may_leave(asked):
        return Denial("operation_not_allowed", "This call is not one that the sidecar answers.", by="match")
    if decision.credential is None and not match.operation.anonymous:
        return Denial("not_connected", "The account has no secret that fits this operation.", by="match")
    return None


def _is_ambiguous(given: Pairs, deciding: frozenset[str]) -> bool:
    """Whether one of `deciding` is there twice: the provider may then read the other one."""
    names = [name.lower() for name, _ in given]
    return any(names.count(name) > 1 for name in deciding)


def _holder(generation: Generation, agent: Agent, account: BoundAccount) -> Holder:
    return Holder(account.id, account.variables, generation.stand_ins.held(agent.name, account.id))
