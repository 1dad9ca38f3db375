"""What an agent is told about an approval that it needs, or does not have any more. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.approval.card import MAX_REVIEW_BYTES
from proxy.approval.states import Approval, Crowded, Refusing, State
from proxy.errors import Denial

if TYPE_CHECKING:
    from proxy.approval.grants import Grant

RETRY_S: Final = 15


def required(approval: Approval) -> Denial:
    """A person has been asked."""
    detail = "A person has been asked, and has not decided yet. Send the same call again later."
    return Denial(
        "approval_required",
        detail,
        by="approve",
        retry_after_s=RETRY_S,
        extra={
            "approval_id": approval.id,
            "status_url": f"http://briefcased.internal/approvals/{approval.id}",
            "decide_by_ms": approval.deadline.wall_ms,
        },
    )


def not_asked(why: Refusing | Crowded) -> Denial:
    """Nobody is asked about this call now."""
    if isinstance(why, Refusing):
        detail = "An approver said no to such a call a short while ago."
        return Denial("approval_rejected", detail, by="approve", retry_after_s=_seconds(why.for_ms))
    detail = "Too many calls of this agent wait for an approval, or were refused one, already."
    retry_s = RETRY_S if why.for_ms is None else _seconds(why.for_ms)
    return Denial("rate_limited", detail, by="approve", retry_after_s=retry_s)


def _seconds(ms: int) -> int:
    """Whole seconds, rounded up."""
    return max(1, -(-ms // 1000))


def over(approval: Approval, state: State) -> Denial:
    """It cannot be used, or decided, any more."""
    extra = {"approval_id": approval.id}
    match state:
        case State.REJECTED:
            return Denial("approval_rejected", "An approver said no to this call.", by="approve", extra=extra)
        case State.CONSUMED:
            return Denial("approval_mismatch", "This approval was used already.", by="approve", extra=extra)
        case _:
            detail = "The approval of this call is over: it was not decided, or not used, in time."
            return Denial("approval_expired", detail, by="approve", extra=extra)


def grant_over(grant: Grant) -> Denial:
    """The standing grant ended between the decision and the request."""
    detail = "The standing grant that covered this call has ended. Send the call again."
    return Denial("approval_expired", detail, by="approve", retry_after_s=0, extra={"approval_id": grant.id})


def too_large() -> Denial:
    """Nobody can look at all of it (J-03)."""
    detail = "This call needs an approval, and is too large for a person to look at whole."
    return Denial("policy_denied", detail, by="approve", extra={"max_bytes": MAX_REVIEW_BYTES})


def unavailable() -> Denial:
    """The database does not answer (P5)."""
    return Denial("approval_unavailable", "Approvals cannot be read or written now.", by="approve", retry_after_s=5)
