"""/locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.models import Done, LockRequest, LocksView
from proxy.api.problems import ProblemError
from proxy.db.threads import in_thread

if TYPE_CHECKING:
    from proxy.api.call import Call, Locks


async def list_(call: Call) -> LocksView:
    """What is locked."""
    if call.operator.tenant is not None:
        raise ProblemError("forbidden", "Only operators of all tenants see every lock.")
    return LocksView(locks=[dict(one) for one in await in_thread(_locks(call).listed)])


async def lock(call: Call) -> Done:
    """Refuse from now on what belongs to a tenant, agent, account or provider."""
    asked = _allowed(call)
    await call.record("lock", f"{asked.scope}:{asked.name}", reason=asked.reason or None)
    await in_thread(_locks(call).lock, asked.scope, asked.name, by=call.operator.name, reason=asked.reason)
    return Done()


async def unlock(call: Call) -> Done:
    """Undo it."""
    asked = _allowed(call)
    await call.record("unlock", f"{asked.scope}:{asked.name}", reason=asked.reason or None)
    if not await in_thread(_locks(call).unlock, asked.scope, asked.name):
        raise ProblemError("not_found")
    return Done()


def _locks(call: Call) -> Locks:
    if call.services.locks is None:
        raise ProblemError("conflict", "This sidecar has no locks.")
    return call.services.locks


def _allowed(call: Call) -> LockRequest:
    """What is asked, where it is within the operator's tenant."""
    asked, tenant = call.sent(LockRequest), call.operator.tenant
    _locks(call)
    if tenant is None:
        return asked
    own = asked.scope == "tenant" and asked.name == tenant
    if not own and not (asked.scope == "agent" and call.services.tenant_of(asked.name) == tenant):
        raise ProblemError("not_found")
    return asked
