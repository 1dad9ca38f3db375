"""/receipts, /verification and /changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.models import Changes, ChangesQuery, Receipt, Receipts, ReceiptsQuery, Verification
from proxy.api.problems import ProblemError
from proxy.db.threads import in_thread
from proxy.model import TENANT
from proxy.receipts import queries

if TYPE_CHECKING:
    from proxy.api.call import Call


async def list_(call: Call) -> Receipts:
    """The newest calls, oldest first."""
    asked = call.asked(ReceiptsQuery)
    found = await in_thread(
        queries.recent,
        call.services.database,
        limit=asked.limit,
        agent=asked.agent,
        refused=asked.refused,
        tenant=call.operator.tenant,
    )
    return Receipts(receipts=[Receipt(decision=one.decision, outcome=one.outcome) for one in found])


async def show(call: Call) -> Receipt:
    """One call."""
    found = await in_thread(queries.one, call.services.database, call.names["id"])
    if found is None or not call.operator.may_see(found.decision.get("tenant", TENANT)):
        raise ProblemError("not_found")
    return Receipt(decision=found.decision, outcome=found.outcome)


async def verify(call: Call) -> Verification:
    """Check every chain; it is of all tenants, so whoever has one may not."""
    if call.operator.tenant is not None:
        raise ProblemError("forbidden", "Only operators of all tenants verify.")
    report = await in_thread(queries.verify_database, call.services.database, call.services.home)
    return Verification(
        ok=not report.problems,
        chains=report.chains,
        records=report.records,
        calls=report.calls,
        problems=list(report.problems),
    )


async def changes(call: Call) -> Changes:
    """What operators have changed."""
    asked = call.asked(ChangesQuery)
    found = await in_thread(queries.changes, call.services.database, limit=asked.limit, tenant=call.operator.tenant)
    return Changes(changes=found)
