"""GET /budgets/usage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.api.models import Usage, Usages
from proxy.budget.standing import usages
from proxy.db.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

    from proxy.api.call import ApiServices, Call

MAX_COUNTERS: Final = 10_000


async def usage(call: Call) -> Usages:
    """What is used, and reserved, of budgets: the newest windows first."""
    tenant = call.operator.tenant
    found = await in_thread(_counters, call.services.shared)
    if tenant is not None:
        owned = _owned(call.services, tenant)
        matched = {one.name: one.match for one in call.services.generation().settings.budgets}
        found = [
            one
            for one in found
            if _within(one.of, owned)
            or (one.budget in matched and _within(matched[one.budget].model_dump(exclude_none=True), owned))
        ]
    return Usages(usage=found)


def _owned(services: ApiServices, tenant: str) -> Mapping[str, set[str]]:
    """By dimension, the names that are this tenant's alone."""
    generation = services.generation()
    accounts = (one for several in generation.accounts.values() for one in several)
    return {
        "tenant": {tenant},
        "agent": {one.name for one in services.agents() if one.tenant == tenant},
        "account": {str(one.id) for one in accounts if one.tenant == tenant},
        "user": {name for name, one in generation.settings.users.items() if one.tenant == tenant},
    }


def _within(names: Mapping[str, str], owned: Mapping[str, set[str]]) -> bool:
    """Whether calls with `names` are the tenant's alone."""
    return any(names.get(dimension) in known for dimension, known in owned.items())


def _counters(database: Engine) -> list[Usage]:
    with database.connect() as connection:
        return [
            Usage(budget=one.budget, of=dict(one.each), window_from_ms=one.since_ms, used=one.used, held=one.held)
            for one in usages(connection, limit=MAX_COUNTERS)
        ]
