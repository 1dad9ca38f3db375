"""/approvals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.approval_models import ApprovalDetail, VoteRequest, VoteView
from proxy.api.approval_views import deciding, proof_of, view, wish_of
from proxy.api.models import Approvals, ApprovalsQuery
from proxy.api.problems import ProblemError
from proxy.approval.approvers import Ballot
from proxy.approval.states import State
from proxy.db.threads import in_thread

if TYPE_CHECKING:
    from proxy.api.call import Call
    from proxy.approval.grants import Grant
    from proxy.approval.states import Approval


async def list_(call: Call) -> Approvals:
    """The newest first; without `state`, of every state."""
    asked, store = call.asked(ApprovalsQuery), call.services.approvals.store
    wanted = State(asked.state) if asked.state is not None else None
    found = await in_thread(store.listed, tenant=call.operator.tenant, state=wanted, limit=asked.limit)
    now = store.now()
    shown = [one for one in found if wanted is None or one.standing(now) is wanted]
    return Approvals(approvals=[view(one, now) for one in shown])


async def show(call: Call) -> ApprovalDetail:
    """One, with everything that its approver must see; one of another tenant is as if there were none (J-06, O-09)."""
    found = await in_thread(call.services.approvals.store.get, call.names["id"])
    if found is None or not call.operator.may_see(found.tenant):
        raise ProblemError("not_found")
    return await _detail(call, found)


async def vote(call: Call) -> ApprovalDetail:
    """Say yes or no; who may, and whether it counts, `Approvers` decides."""
    asked = call.sent(VoteRequest)
    with deciding():
        proof, wish = proof_of(asked.proof), wish_of(asked.grant)
        ballot = Ballot(call.operator, asked.approve, reason=asked.reason, proof=proof, grant=wish)
        changed, grant = await call.services.approvers.decide(call.names["id"], ballot)
    return await _detail(call, changed.approval, grant)


async def _detail(call: Call, approval: Approval, grant: Grant | None = None) -> ApprovalDetail:
    store = call.services.approvals.store
    card = await in_thread(store.card, approval.id)
    given = await in_thread(store.reasons, approval.id)
    if card is None:
        raise ProblemError("not_found")
    return ApprovalDetail(
        approval=view(approval, store.now()),
        votes=[
            VoteView(approver=one.approver, approve=one.yes, reason=given.get(one.approver, ""), key=one.factor)
            for one in approval.votes
        ],
        card=card,
        fingerprint=approval.fingerprint,
        grant=grant.id if grant is not None else None,
    )
