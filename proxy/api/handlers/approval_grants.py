"""/approval-grants: standing grants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.approval_models import Grants, GrantView, NewGrant, SecondRequest
from proxy.api.approval_views import deciding, grant_view, proof_of, wish_of
from proxy.api.models import Done, GrantsQuery
from proxy.api.problems import ProblemError
from proxy.approval.approvers import Ballot
from proxy.approval.grants import Scope
from proxy.db.threads import in_thread

if TYPE_CHECKING:
    from proxy.api.call import Call


async def list_(call: Call) -> Grants:
    """The newest first, those that are over too."""
    grants = call.services.approvals.grants
    found = await in_thread(grants.listed, tenant=call.operator.tenant, limit=call.asked(GrantsQuery).limit)
    return Grants(grants=[grant_view(one, grants.now()) for one in found])


async def make(call: Call) -> GrantView:
    """A grant by itself, for the agent, profile and policies that there are now."""
    new = call.sent(NewGrant)
    with deciding():
        ballot = Ballot(call.operator, yes=True, reason=new.reason, grant=wish_of(new.terms))
        made = await call.services.approvers.grant(_scope(call, new), ballot)
    return grant_view(made, call.services.approvals.grants.now())


async def second(call: Call) -> GrantView:
    """Stand behind one that another approver has made."""
    asked = call.sent(SecondRequest)
    with deciding():
        grant = await call.services.approvers.second(call.names["id"], call.operator, proof_of(asked.proof))
    return grant_view(grant, call.services.approvals.grants.now())


async def revoke(call: Call) -> Done:
    """End one at once."""
    with deciding():
        await call.services.approvers.revoke(call.names["id"], call.operator)
    return Done()


def _scope(call: Call, new: NewGrant) -> Scope:
    agent = call.agent(new.agent)
    generation = call.services.generation()
    profile, _, operation = new.operation.partition(":")
    account = next((one for one in generation.accounts.get(profile, ()) if str(one.id) == new.account), None)
    if account is None or not agent.may_use(account.id, account.tenant):  # also another tenant's
        raise ProblemError("not_found", "There is no such profile, or the agent has no such account of it.")
    return Scope(
        tenant=agent.tenant,
        agent=agent.name,
        user=new.user,
        account=new.account,
        profile=profile,
        profile_version=generation.version_of(account),
        operation=operation,
        policy_version=generation.policies.version,
        method=new.method,
        origin=new.origin,
        path=new.terms.path,
        life=agent.life,
    )
