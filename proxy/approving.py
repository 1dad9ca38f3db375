"""approve: a request that its decision, or an advisor, does not let go without a person's yes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from proxy.approval.fingerprint import Asked
from proxy.approval.service import Waiter
from proxy.budget_settings import USD
from proxy.errors import Denial, Refused
from proxy.model import Strength

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.approval.service import Approvals
    from proxy.approval.states import Approval
    from proxy.decision import Decision, Generation
    from proxy.exchange import Exchange
    from proxy.model import RawHead

NAMED: Final = b"briefcased-approval"
"""Header with which an agent may say which approval it thinks it has; it never leaves."""


async def approve(
    approvals: Approvals,
    generation: Generation,
    exchange: Exchange,
    decision: Decision,
    body: bytes | None,
    *,
    stands: Callable[[], bool],
) -> Approval | None:
    """The approval of the request, where one is wanted; it is still to be used up.

    `stands` says afterwards whether what was decided still holds.

    Raises:
        Refused: there is none (see `Approvals.granted`), or the decision does not hold any more.
    """
    if decision.ruling.strength is Strength.NONE:
        return None
    waiter = Waiter(asyncio.Event(), lambda: exchange.client_gone)
    exchange.on_gone = waiter.wake.set
    try:
        asked = _asked(approvals, generation, exchange, decision, body)
        approval = await approvals.granted(asked, _title(decision), waiter=waiter, named=exchange.named_approval)
    finally:
        exchange.on_gone = None
    if not stands():
        detail = "The configuration changed while this call waited."
        raise Refused(Denial("approval_mismatch", detail, by="approve"))
    return approval


def named_in(raw: RawHead) -> str | None:
    """The approval that the agent thinks it has."""
    given = [value.decode("latin-1") for name, value in raw.headers if name.lower() == NAMED]
    return given[0] if given else None


def _asked(
    approvals: Approvals, generation: Generation, exchange: Exchange, decision: Decision, body: bytes | None
) -> Asked:
    match, account = decision.match, decision.account
    assert match is not None
    assert match.operation is not None
    assert account is not None
    profile, operation = match.profile, match.operation
    return Asked(
        agent=exchange.tunnel.agent,
        account=str(account.id),
        profile=profile.name,
        profile_version=generation.profile_versions[profile.name],
        operation=operation.id,
        action=operation.action.value,
        policy_version=generation.policies.version,
        mode=generation.settings.mode.value,
        head=decision.head,
        body=body,
        strength=decision.ruling.strength,
        reasons=decision.ruling.reasons,
        cost_microusd=decision.estimate.most.get(USD, 0),
        needs=approvals.settings.approvers,
    )


def _title(decision: Decision) -> str:
    assert decision.match is not None
    assert decision.match.operation is not None
    operation = decision.match.operation
    return operation.title or f"{decision.match.profile.title}: {operation.id}"
