"""/locks and /unlocks. What is locked counts within a second, in every process (see `proxy/identity/locks.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.models import Done, LockRequest, LocksView, LockView
from proxy.api.problems import ProblemError
from proxy.db.threads import in_thread
from proxy.identity import locks

if TYPE_CHECKING:
    from proxy.api.call import Call
    from proxy.identity.locks import Key, Lock


async def list_(call: Call) -> LocksView:
    """What is locked, the oldest first."""
    if call.operator.tenant is not None:
        raise ProblemError("forbidden", "Only operators of all tenants see every lock.")
    found = await in_thread(locks.listed, call.services.shared)
    return LocksView(locks=[_view(one) for one in found if one.kind != locks.TOKEN])


async def lock(call: Call) -> Done:
    """Refuse from now on what belongs to a tenant, agent, user, account or provider."""
    asked, key = _allowed(call)
    await call.record("lock", _words(key), reason=asked.reason)
    by = call.operator.name
    await in_thread(locks.lock, call.services.shared, [key], reason=asked.reason, by=by, clock=call.services.clock)
    return Done()


async def unlock(call: Call) -> Done:
    """Undo it."""
    asked, key = _allowed(call)
    await call.record("unlock", _words(key), reason=asked.reason)
    if not await in_thread(locks.unlock, call.services.shared, [key]):
        raise ProblemError("not_found")
    return Done()


def _view(lock: Lock) -> LockView:
    return LockView(scope=lock.kind, name=lock.name, reason=lock.reason, by=lock.by, at_ms=lock.at_ms)


def _words(key: Key) -> str:
    return ":".join(part for part in key if part)


def _allowed(call: Call) -> tuple[LockRequest, Key]:
    """What is asked, and the row that it is about, where it is within the operator's tenant."""
    asked, tenant = call.sent(LockRequest), call.operator.tenant
    key = (asked.scope, asked.name)
    if tenant is None:
        return asked, key
    own = asked.scope == "tenant" and asked.name == tenant
    if not own and not (asked.scope == "agent" and call.services.tenant_of(asked.name) == tenant):
        raise ProblemError("not_found")
    return asked, key
