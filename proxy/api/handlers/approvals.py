"""/approvals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.approval_views import view
from proxy.api.models import ApprovalDetail, Approvals, ApprovalsQuery, VoteRequest, VoteView
from proxy.api.problems import ProblemError
from proxy.approval.entitled import Unfit
from proxy.approval.states import State, Vote
from proxy.approval.store import Changed
from proxy.db.threads import in_thread
from proxy.model import Strength

if TYPE_CHECKING:
    from proxy.api.call import Call
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
    """One, with everything that its approver must see."""
    return await _detail(call, await _visible(call))


async def vote(call: Call) -> ApprovalDetail:
    """Say yes or no. The first no rejects; whoever asked decides nothing themselves (J-07, J-10)."""
    asked, found = call.sent(VoteRequest), await _visible(call)
    if call.operator.is_party(found.agent, found.user):
        await call.record("approval_refused", found.id, tenant=found.tenant, refused="own_request")
        raise ProblemError("own_request")
    store = call.services.approvals.store
    if (standing := found.standing(store.now())) is not State.PENDING:
        raise ProblemError("conflict", _STANDS[standing])
    if asked.approve and found.strength is Strength.STRONG:
        raise ProblemError("strong_factor_required", "A vote without a signature does not count here.")
    said = "approve" if asked.approve else "reject"
    await call.record("approval_vote", found.id, tenant=found.tenant, vote=said, reason=asked.reason or None)
    cast = Vote(call.operator.name, yes=asked.approve)
    match await call.services.approvals.vote(found.id, cast, reason=asked.reason, tenant=call.operator.tenant):
        case None:
            raise ProblemError("not_found")
        case Unfit():
            raise ProblemError("own_request")
        case State() as over:
            raise ProblemError("conflict", _STANDS[over])
        case Changed(approval=changed):
            return await _detail(call, changed)


_STANDS = {state: f"This approval is {state.value}." for state in State}


async def _visible(call: Call) -> Approval:
    """The approval that the path names; one of another tenant is as if there were none (J-06, O-09)."""
    found = await in_thread(call.services.approvals.store.get, call.names["id"])
    if found is None or not call.operator.may_see(found.tenant):
        raise ProblemError("not_found")
    return found


async def _detail(call: Call, approval: Approval) -> ApprovalDetail:
    store = call.services.approvals.store
    card = await in_thread(store.card, approval.id)
    given = await in_thread(store.reasons, approval.id)
    if card is None:
        raise ProblemError("not_found")
    return ApprovalDetail(
        approval=view(approval, store.now()),
        votes=[
            VoteView(approver=one.approver, approve=one.yes, reason=given.get(one.approver, ""))
            for one in approval.votes
        ],
        card=card,
    )
