"""/operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.models import Done, NewOperator, Operators, OperatorView, Token
from proxy.api.problems import ProblemError
from proxy.db.threads import in_thread
from proxy.errors import BriefcaseError
from proxy.identity import operators

if TYPE_CHECKING:
    from proxy.api.call import Call


async def list_(call: Call) -> Operators:
    """Every operator that the caller may see: with a tenant, those of it."""
    rows = await in_thread(operators.list_operators, call.services.database)
    return Operators(
        operators=[
            OperatorView(name=row.name, role=row.role, tenant=row.tenant, revoked=row.revoked_at_ms is not None)
            for row in rows
            if _within(call, row.tenant)
        ]
    )


async def add(call: Call) -> Token:
    """Add an operator; an admin of a tenant adds operators of that tenant alone."""
    new, services = call.sent(NewOperator), call.services
    if not _within(call, new.tenant):
        raise ProblemError("forbidden", "An admin of a tenant adds operators of that tenant.")
    await call.record("operator_add", new.name, tenant=new.tenant, role=new.role.value)
    try:
        issued = await in_thread(
            operators.add_operator,
            services.database,
            new.name,
            new.role,
            clock=services.clock,
            tenant=new.tenant,
            hours=new.hours,
        )
    except BriefcaseError:
        raise ProblemError("conflict", "There is an operator of this name.") from None
    return Token(name=new.name, token=issued.token, expires_at_ms=issued.expires_at_ms)


async def revoke(call: Call) -> Done:
    """Revoke an operator with all tokens, the keys that speak for them, and what they have said.

    Once more, it ends what a crash has left of an operator who was revoked.
    """
    name, services = call.names["name"], call.services
    rows = await in_thread(operators.list_operators, services.database)
    row = next((one for one in rows if one.name == name), None)
    if row is None or not _within(call, row.tenant):
        raise ProblemError("not_found")
    await call.record("operator_revoke", name, tenant=row.tenant)
    revoked = await in_thread(operators.revoke_operator, services.database, name, clock=services.clock)
    left = await services.registrar.revoke_of(call.operator, name, tenant=row.tenant)
    if not revoked and not left:
        raise ProblemError("not_found")
    return Done()


def _within(call: Call, tenant: str | None) -> bool:
    return call.operator.tenant is None or call.operator.tenant == tenant
