"""GET /accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.models import Accounts, AccountView

if TYPE_CHECKING:
    from proxy.api.call import Call
    from proxy.catalog.binding import BoundAccount


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
        if _may_see(call, one)
    ]
    return Accounts(accounts=sorted(seen, key=lambda one: one.account))


def _may_see(call: Call, account: BoundAccount) -> bool:
    """Whether the operator's tenant has this account."""
    return call.operator.tenant in (None, account.tenant)
