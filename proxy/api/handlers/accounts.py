"""GET /accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.models import Accounts, AccountView

if TYPE_CHECKING:
    from proxy.api.call import Call
    from proxy.model import AccountId


async def list_(call: Call) -> Accounts:
    """Accounts of the configuration in force; with a tenant, those that one of its agents may use."""
    generation = call.services.generation()
    every = [account for group in generation.accounts.values() for account in group]
    seen = [
        AccountView(
            account=str(one.id),
            provider=one.id.provider,
            actions=list(one.account.actions),
            default=one.is_default,
            credentials=list(one.account.credentials or one.profile.credentials),
        )
        for one in every
        if _may_see(call, one.id)
    ]
    return Accounts(accounts=sorted(seen, key=lambda one: one.account))


def _may_see(call: Call, account: AccountId) -> bool:
    operator = call.operator
    if operator.tenant is None:
        return True
    return any(agent.tenant == operator.tenant and agent.may_use(account) for agent in call.services.agents())
