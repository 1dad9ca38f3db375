"""What operators see of budgets: those of their tenant, and the same numbers by the API as by the command."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from proxy.budget.standing import usages
from proxy.clock import SystemClock
from proxy.db.engine import DATABASE, open_database
from proxy.identity.operators import add_operator
from proxy.model import Role
from tests.api.conftest import Api
from tests.rig import running_rig

if TYPE_CHECKING:
    from pathlib import Path

CALLS: dict[str, Any] = {"unit": "requests", "limit": 100}
SETTINGS: dict[str, Any] = {
    "tenants": ["acme", "globex"],
    "users": {"bob": {"tenant": "globex", "accounts": ["*"]}},
    "agents": {
        "coder": {"tenant": "acme", "accounts": ["*"]},
        "rival": {"tenant": "globex", "accounts": ["*"]},
    },
    "providers": {
        "example": {
            "accounts": {
                "red": {"tenant": "acme", "secrets": {"api_key": "env:EXAMPLE_API_KEY"}},
                "blue": {"tenant": "globex", "secrets": {"api_key": "env:OTHER_TOKEN"}},
            }
        }
    },
    "budgets": [
        {**CALLS, "name": "everyone"},
        {**CALLS, "name": "acme-all", "match": {"tenant": "acme"}},
        {**CALLS, "name": "of-agents", "each": ["agent"]},
        {**CALLS, "name": "of-blue", "match": {"account": "example/blue"}},
        {**CALLS, "name": "of-accounts", "each": ["account"]},
    ],
}


async def seen(api: Api, who: str) -> set[tuple[str, str, int]]:
    found = (await api.call(who, "GET", "/budgets/usage")).json()["usage"]
    return {(one["budget"], " ".join(one["of"].values()), one["used"]) for one in found}


async def test_p6_operators_of_a_tenant_see_its_budgets_and_no_others(tmp_path: Path) -> None:
    listeners = {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0", "api": "127.0.0.1:0"}
    async with running_rig(tmp_path, settings={**SETTINGS, "listeners": listeners}) as rig:
        database = open_database(rig.home / DATABASE)
        api = Api(rig, tmp_path, database, database)
        for name, tenant in (("viewer", None), ("acme", "acme"), ("globex", "globex")):
            added = add_operator(database, name, Role.VIEWER, clock=SystemClock(), tenant=tenant)
            api.tokens[name] = added.token
        first = await api.rig.call("GET", "/x", agent="coder")
        assert first.status == 200, first.body
        for _ in range(2):
            assert (await api.rig.call("GET", "/x", agent="rival")).status == 200
        everything = {
            ("everyone", "", 3),
            ("acme-all", "", 1),
            ("of-agents", "coder", 1),
            ("of-agents", "rival", 2),
            ("of-blue", "", 2),
            ("of-accounts", "example/red", 1),
            ("of-accounts", "example/blue", 2),
        }
        async with asyncio.timeout(10):
            while await seen(api, "viewer") != everything:  # what is held is settled a moment later
                await asyncio.sleep(0.02)
        assert await seen(api, "acme") == {
            ("acme-all", "", 1), ("of-agents", "coder", 1), ("of-accounts", "example/red", 1),
        }  # fmt: skip
        assert await seen(api, "globex") == {
            ("of-blue", "", 2), ("of-agents", "rival", 2), ("of-accounts", "example/blue", 2),
        }  # fmt: skip
        with api.database.connect() as connection:
            told = {(one.budget, " ".join(one.each.values()), one.used) for one in usages(connection)}
            assert told == everything
            assert len(list(usages(connection, "of-agents", limit=1))) == 1
        database.dispose()
