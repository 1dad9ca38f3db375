"""One process that judges who is who, beside others on the same database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from proxy.api.call import Call
from proxy.api.handlers import operators as operators_api
from proxy.api.handlers import sessions as sessions_api
from proxy.api.problems import ProblemError
from proxy.catalog.configuration import Configuration
from proxy.catalog.schema import Profile
from proxy.db.sealing import Seal
from proxy.documents import Document
from proxy.exchange import Exchange, Tunnel
from proxy.generation import build_generation
from proxy.identity.directory import Directory
from proxy.identity.locks import Locks
from proxy.identity.operator_registry import OperatorRegistry
from proxy.identity.registry import AgentRegistry
from proxy.model import Agent, Operator, Role
from proxy.operator_settings import OperatorSettings
from proxy.rights import Rights
from proxy.services import TASK_TOKENS, authenticators_before
from proxy.settings import Settings
from tests.approval.hands import KEY, Hands
from tests.approval.voting import Desk
from tests.identity.oracle import ACCOUNTS, TENANTS, USERS, WRITTEN
from tests.rig.services import services

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

PROFILE = """\
schema: 1
name: {name}
{provider}title: One
docs: https://{name}.test/
checked: "2026-11-24"
hosts: [{{host: {name}.test}}]
secrets: {{key: {{stand_in: {{template: "{name}-{{base62:24}}"}}}}}}
credentials: {{bearer: {{kind: header, prefix: "Bearer ", secret: key}}}}
operations: [{{id: read, methods: [GET], path: "/**", action: read}}]
"""
TEXTS = {
    "example": PROFILE.format(name="example", provider=""),
    "second": PROFILE.format(name="second", provider="provider: example\n"),
}
PROFILES = {name: Document(name, text).validated(Profile) for name, text in TEXTS.items()}
SETTINGS = Settings.model_validate_json(
    orjson.dumps(
        {
            "version": 1,
            "tenants": TENANTS,
            "users": {name: {"tenant": tenant, "accounts": accounts} for name, (tenant, accounts) in USERS.items()},
            "agents": {
                name: {"tenant": tenant, "accounts": accounts, "users": users}
                for name, (tenant, accounts, users) in WRITTEN.items()
            },
            "providers": {
                name: {
                    "accounts": {
                        account.partition("/")[2]: {"secrets": {"key": "file:/k"}, "tenant": tenant}
                        for account, tenant in ACCOUNTS.items()
                        if account.startswith(f"{name}/")
                    }
                }
                for name in PROFILES
            },
        }
    )
)
GENERATION = build_generation(1, Configuration(SETTINGS, PROFILES), (), stand_in_key=b"k" * 32)
SEED = Seal(KEY).derived(TASK_TOKENS)
LOCAL = Operator("local", Role.ADMIN, Role.ADMIN, None, "uid:0")


@dataclass
class World:
    """What processes have in common."""

    engine: Engine
    hands: Hands
    operators: OperatorSettings
    boot: int = 0


class Receipts:
    """Where what is changed is written down."""

    def __init__(self) -> None:
        self.changes: list[dict[str, object]] = []

    async def record_change(self, fields: Mapping[str, object]) -> None:
        self.changes.append(dict(fields))


class Gate:
    """What a sidecar puts together, on one database for both what is its own and what is shared."""

    def __init__(self, world: World) -> None:
        engine, clock, directory = world.engine, world.hands, Directory.of(SETTINGS)
        self.registry = AgentRegistry(engine, clock=clock, directory=directory)
        self.locks = Locks(engine, clock)
        self.authenticator = authenticators_before(
            self.registry, Seal(KEY), lambda: directory, locks=self.locks, clock=clock
        )
        self.rights = Rights(self.authenticator, self.locks, clock, lambda: GENERATION)
        self.operators = OperatorRegistry(engine, engine, lambda: world.operators, clock)
        self.desk = Desk(engine, clock, boot=f"boot-{world.boot}")
        self.services = services(
            database=engine,
            shared=engine,
            clock=clock,
            receipts=Receipts(),
            approvals=self.desk.approvals,
            approvers=self.desk.approvers,
            registrar=self.desk.registrar,
            agents=self.registry.agents,
            generation=lambda: GENERATION,
        )

    def fault(self, agent: Agent, source: str, account: str | None) -> str | None:
        """Why what runs must end; `account` None is a connection on which nothing runs."""
        tunnel = Tunnel(agent, None, source=source)
        if account is None:
            return self.rights.fault(tunnel, None)
        return self.rights.fault(tunnel, self.exchange(tunnel, account))

    def locked(self, agent: Agent, source: str, account: str) -> bool:
        return self.rights.locked(self.exchange(Tunnel(agent, None, source=source), account)) is not None

    def exchange(self, tunnel: Tunnel, account: str) -> Exchange:
        return Exchange("rcp_1", tunnel, 1, 0.0, account=account, profile=account.partition("/")[0])

    async def revoke_operator(self, name: str) -> bool:
        return await self._done(operators_api.revoke(self.call(LOCAL, name=name)))

    async def end_session(self, by: Operator, id_: str) -> bool:
        return await self._done(sessions_api.end(self.call(by, id=id_)))

    def call(self, by: Operator, **names: str) -> Call:
        return Call(operator=by, services=self.services, registry=self.operators, names=names)

    async def _done(self, asking: Any) -> bool:
        try:
            await asking
        except ProblemError as problem:
            if problem.problem.slug != "not_found":
                raise
            return False
        return True
