"""GET /budgets/usage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson
from sqlalchemy import select

from proxy.api.models import Usage, Usages
from proxy.db.tables import budget_counters
from proxy.db.threads import in_thread

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from proxy.api.call import Call

MAX_COUNTERS: Final = 10_000


async def usage(call: Call) -> Usages:
    """What is used, and reserved, of budgets: the newest windows first."""
    tenant = call.operator.tenant
    theirs = {one.name for one in call.services.agents() if one.tenant == tenant}
    found = await in_thread(_counters, call.services.shared)
    seen = [one for one in found if tenant is None or one.of.get("tenant") == tenant or one.of.get("agent") in theirs]
    return Usages(usage=seen)


def _counters(database: Engine) -> list[Usage]:
    query = select(budget_counters).order_by(budget_counters.c.bucket.desc(), budget_counters.c.key)
    with database.connect() as connection:
        rows = connection.execute(query.limit(MAX_COUNTERS)).all()
    found = []
    for row in rows:
        _, name, of = orjson.loads(row.key)
        found.append(Usage(budget=name, of=of, window_from_ms=row.bucket, used=row.used, held=row.held))
    return found
