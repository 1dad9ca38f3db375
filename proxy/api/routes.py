"""Every route of the control API, with who may use it. Server, OpenAPI document and tests read this table."""

from __future__ import annotations

from typing import Final

from proxy.api import approval_models as a
from proxy.api import models as m
from proxy.api import policy_models as p
from proxy.api import session_models as s
from proxy.api import version_models as v
from proxy.api.call import Route
from proxy.api.handlers import (
    accounts,
    agents,
    approval_events,
    approval_grants,
    approvals,
    approver_keys,
    budgets,
    locks,
    operators,
    policies,
    policy_versions,
    receipts,
    sessions,
    simulation,
    whoami,
)
from proxy.model import Role

BASE: Final = "/api/v1"
LOOK: Final = frozenset(Role)
DECIDE: Final = frozenset({Role.APPROVER, Role.ADMIN})
OPERATE: Final = frozenset({Role.OPERATOR, Role.ADMIN})
ADMIN: Final = frozenset({Role.ADMIN})
ANYBODY: Final[frozenset[Role]] = frozenset()
"""Nobody is asked who they are."""


ROUTES: Final = (
    Route(method="GET", path="/whoami", roles=LOOK, handler=whoami.show, answer=m.Whoami, summary="Who you are here."),
    Route(method="GET", path="/agents", roles=LOOK, handler=agents.list_, answer=m.Agents, summary="List agents."),
    Route(method="POST", path="/agents", roles=OPERATE, handler=agents.add, answer=m.Token, body=m.NewAgent,
          summary="Add an agent, or give one a further token, which is shown once.", creates=True),
    Route(method="DELETE", path="/agents/{name}", roles=OPERATE, handler=agents.revoke, answer=m.Done,
          summary="Revoke an agent with all its tokens."),
    Route(method="GET", path="/accounts", roles=LOOK, handler=accounts.list_, answer=m.Accounts,
          summary="List accounts, without their secrets."),
    Route(method="GET", path="/policies", roles=LOOK, handler=policies.show, answer=p.PoliciesView,
          summary="The policies in force."),
    Route(method="POST", path="/policies/explain", roles=LOOK, handler=policies.explain, answer=p.Explanation,
          body=p.ExplainRequest, summary="What would be decided about a request; nothing is sent."),
    Route(method="GET", path="/policies/pending", roles=LOOK, handler=policies.pending, answer=p.PendingView,
          summary="What allows more than the policies in force, and waits for a confirmation."),
    Route(method="POST", path="/policies/confirmations", roles=OPERATE, handler=policies.confirm, answer=m.Done,
          body=p.Confirmation, summary="Let what waits take effect; whoever wrote it cannot."),
    Route(method="POST", path="/policies/simulate", roles=OPERATE, handler=simulation.simulate, answer=p.Simulation,
          body=p.SimulateRequest, summary="What other policies would have said of past calls."),
    Route(method="GET", path="/policies/versions", roles=LOOK, handler=policy_versions.list_, answer=v.VersionsView,
          query=v.VersionsQuery, summary="Every set of policies that was wanted, the newest first."),
    Route(method="GET", path="/policies/versions/{number}", roles=LOOK, handler=policy_versions.show,
          answer=v.VersionDetail, summary="One set of policies, as it was written."),
    Route(method="GET", path="/policies/versions/{number}/difference", roles=LOOK, handler=policy_versions.difference,
          answer=v.DifferenceView, query=v.DifferenceQuery, summary="What changed from one set to another."),
    Route(method="POST", path="/policies/rollback", roles=OPERATE, handler=policy_versions.rollback,
          answer=v.RollbackView, body=v.RollbackRequest, summary="Bring an earlier set of policies back."),
    Route(method="GET", path="/policies/rollout", roles=LOOK, handler=policy_versions.rollout, answer=v.RolloutView,
          query=v.RolloutQuery, summary="For whom a candidate decides, and what it would change for others."),
    Route(method="GET", path="/budgets/usage", roles=LOOK, handler=budgets.usage, answer=m.Usages,
          summary="What is used of budgets."),
    Route(method="GET", path="/approvals", roles=LOOK, handler=approvals.list_, answer=m.Approvals,
          query=m.ApprovalsQuery, summary="List approvals, the newest first."),
    Route(method="GET", path="/approvals/{id}", roles=LOOK, handler=approvals.show, answer=a.ApprovalDetail,
          summary="One approval with the whole request."),
    Route(method="POST", path="/approvals/{id}/votes", roles=DECIDE, handler=approvals.vote, answer=a.ApprovalDetail,
          body=a.VoteRequest, summary="Approve or reject; with a signature where one is needed."),
    Route(method="GET", path="/approval-events", roles=LOOK, stream=approval_events.follow,
          answer=m.ApprovalView, summary="What becomes of approvals, as server-sent events."),
    Route(method="GET", path="/approval-grants", roles=LOOK, handler=approval_grants.list_, answer=a.Grants,
          query=m.GrantsQuery, summary="List standing grants, the newest first."),
    Route(method="POST", path="/approval-grants", roles=DECIDE, handler=approval_grants.make, answer=a.GrantView,
          body=a.NewGrant, summary="Make a standing grant by itself; it is never a strong one.", creates=True),
    Route(method="POST", path="/approval-grants/{id}/seconds", roles=DECIDE, handler=approval_grants.second,
          answer=a.GrantView, body=a.SecondRequest, summary="Stand behind a grant of another approver."),
    Route(method="DELETE", path="/approval-grants/{id}", roles=DECIDE | OPERATE, handler=approval_grants.revoke,
          answer=m.Done, summary="End a standing grant at once."),
    Route(method="GET", path="/approver-keys", roles=LOOK, handler=approver_keys.list_, answer=a.Keys,
          summary="List the keys that approvers sign with."),
    Route(method="POST", path="/approver-keys", roles=DECIDE, handler=approver_keys.add, answer=a.KeyView,
          body=a.NewKey, summary="Register a key of your own.", creates=True),
    Route(method="POST", path="/approver-keys/{id}/confirmations", roles=ADMIN, handler=approver_keys.confirm,
          answer=a.KeyView, body=a.KeyConfirmation, summary="Let a key of another count."),
    Route(method="DELETE", path="/approver-keys/{id}", roles=DECIDE, handler=approver_keys.revoke,
          answer=a.RevokedKey, summary="Revoke a key, and what it has said."),
    Route(method="GET", path="/receipts", roles=LOOK, handler=receipts.list_, answer=m.Receipts,
          query=m.ReceiptsQuery, summary="The newest calls, oldest first."),
    Route(method="GET", path="/receipts/{id}", roles=LOOK, handler=receipts.show, answer=m.Receipt,
          summary="One call."),
    Route(method="GET", path="/verification", roles=LOOK, handler=receipts.verify, answer=m.Verification,
          summary="Check that all receipts are whole."),
    Route(method="GET", path="/changes", roles=LOOK, handler=receipts.changes, answer=m.Changes,
          query=m.ChangesQuery, summary="What operators have changed, the newest first."),
    Route(method="GET", path="/locks", roles=LOOK, handler=locks.list_, answer=m.LocksView, summary="What is locked."),
    Route(method="POST", path="/locks", roles=OPERATE, handler=locks.lock, answer=m.Done, body=m.LockRequest,
          summary="Lock a tenant, agent, account, provider, or everything."),
    Route(method="POST", path="/unlocks", roles=OPERATE, handler=locks.unlock, answer=m.Done, body=m.LockRequest,
          summary="Undo a lock."),
    Route(method="GET", path="/operators", roles=ADMIN, handler=operators.list_, answer=m.Operators,
          summary="List operators."),
    Route(method="POST", path="/operators", roles=ADMIN, handler=operators.add, answer=m.Token, body=m.NewOperator,
          summary="Add an operator; the token is shown once.", creates=True),
    Route(method="DELETE", path="/operators/{name}", roles=ADMIN, handler=operators.revoke, answer=m.Done,
          summary="Revoke an operator with all tokens."),
    Route(method="GET", path="/logins", roles=ANYBODY, visit=sessions.ways, answer=s.LoginsView,
          summary="Where operators may log in."),
    Route(method="POST", path="/sessions", roles=ANYBODY, visit=sessions.login, answer=s.SessionToken,
          body=s.NewSession, summary="Exchange an ID token for a session, whose token is shown once.", creates=True),
    Route(method="GET", path="/sessions", roles=LOOK, handler=sessions.list_, answer=s.SessionsView,
          summary="Your logins; an admin's list has everybody's."),
    Route(method="DELETE", path="/sessions/{id}", roles=LOOK, handler=sessions.end, answer=m.Done,
          summary="End a login: your own (`current`), or as an admin anybody's."),
)  # fmt: skip
