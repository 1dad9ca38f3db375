"""/agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.api.models import Agents, AgentView, Done, NewAgent, Token
from proxy.api.problems import ProblemError
from proxy.db.threads import in_thread
from proxy.identity import store
from proxy.identity.store import Belongs
from proxy.model import TENANT

if TYPE_CHECKING:
    from proxy.api.call import Call
    from proxy.identity.store import AgentRow

_DAY_MS: Final = 86_400_000


async def list_(call: Call) -> Agents:
    """Those that the operator may see, revoked ones included."""
    found = {
        one.name: AgentView(name=one.name, tenant=one.tenant, accounts=list(one.accounts), revoked=False)
        for one in call.services.agents()
    }
    described = call.services.generation().settings.agents
    for row in await in_thread(store.list_agents, call.services.database):
        if row.revoked_at_ms is not None:
            tenant = described[row.name].tenant if row.name in described else row.tenant
            accounts = list(row.accounts)
            found[row.name] = AgentView(name=row.name, tenant=tenant or TENANT, accounts=accounts, revoked=True)
    return Agents(agents=[found[name] for name in sorted(found) if call.operator.may_see(found[name].tenant)])


async def add(call: Call) -> Token:
    """Add an agent, or give one a further token."""
    new, services = call.sent(NewAgent), call.services
    rows = {row.name: row for row in await in_thread(store.list_agents, services.database)}
    belongs = _belongs(call, new, rows.get(new.name))
    tenant = (belongs.tenant if belongs is not None else services.tenant_of(new.name)) or TENANT
    expires_at_ms = None if new.days is None else services.clock.wall_ms() + new.days * _DAY_MS
    await call.record("agent_add", new.name, tenant=tenant, accounts=" ".join(new.accounts) or None)
    token = await in_thread(
        store.add_agent,
        services.database,
        new.name,
        tuple(new.accounts),
        clock=services.clock,
        expires_at_ms=expires_at_ms,
        belongs=belongs,
    )
    return Token(name=new.name, token=token, expires_at_ms=expires_at_ms)


def _belongs(call: Call, new: NewAgent, row: AgentRow | None) -> Belongs | None:
    """What is written down of the agent; None leaves it. Raises `ProblemError`: not the caller's to add, or to move."""
    settings = call.services.generation().settings
    described = settings.agents.get(new.name)
    known = described or row
    own = known.tenant if known is not None else new.tenant or (call.operator.tenant if settings.tenants else None)
    if not call.operator.may_see(own or TENANT) or (new.tenant is not None and not call.operator.may_see(new.tenant)):
        raise ProblemError("forbidden", "Agents are added by operators of their tenant.")
    if known is not None and new.tenant not in (None, own):
        raise ProblemError("conflict", "This agent is, or was, another tenant's.")
    if described is None and own not in (settings.tenants or (None,)):
        raise ProblemError("conflict", "A new agent names one of the tenants that are declared, if there are any.")
    if known is not None and new.groups is None and new.users is None and (row is None or row.revoked_at_ms is None):
        return None
    return Belongs(own, tuple(new.groups or ()), tuple(new.users or ()))


async def revoke(call: Call) -> Done:
    """Revoke an agent with all its tokens."""
    name, services = call.names["name"], call.services
    rows = {row.name: row for row in await in_thread(store.list_agents, services.database)}
    tenant, named, row = services.tenant_of(name), services.generation().settings.agents.get(name), rows.get(name)
    there = row.revoked_at_ms is None if row is not None else named is not None
    if not call.operator.may_see(tenant) or not there:
        raise ProblemError("not_found")
    await call.record("agent_revoke", name, tenant=tenant)
    if not await in_thread(store.revoke_agent, services.database, name, clock=services.clock, named=named):
        raise ProblemError("not_found")
    return Done()
