"""Approvals in the form of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.models import ApprovalView

if TYPE_CHECKING:
    from proxy.approval.states import Approval, Moment


def view(approval: Approval, now: Moment) -> ApprovalView:
    """`approval` as it stands at `now`."""
    return ApprovalView(
        id=approval.id,
        tenant=approval.tenant,
        agent=approval.agent,
        user=approval.user,
        account=approval.account,
        profile=approval.profile,
        operation=approval.operation,
        state=approval.standing(now).value,
        strength=("none", "approval", "strong")[approval.strength],
        needs=approval.needs,
        approvers=list(approval.approvers),
        created_at_ms=approval.created_at_ms,
        until_ms=approval.deadline.wall_ms,
        receipt=approval.receipt,
    )
