"""One call of the control API, as its handler sees it; and what a route is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import BaseModel

from proxy.api.problems import ProblemError
from proxy.model import TENANT

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from proxy.api.logins import Logins
    from proxy.approval.approvers import Approvers
    from proxy.approval.channels.slack_incoming import SlackIncoming
    from proxy.approval.registrar import Registrar
    from proxy.approval.service import Approvals
    from proxy.clock import Clock
    from proxy.decision import Generation
    from proxy.egress.http import HttpClient
    from proxy.enforcing import Enforcing
    from proxy.identity.operator_registry import OperatorRegistry
    from proxy.model import Agent, Operator, Role
    from proxy.policy_standing import Wish
    from proxy.policy_versions import Version
    from proxy.receipts.log import ReceiptLog
    from proxy.receipts.record import Value


@dataclass(frozen=True, kw_only=True)
class ApiServices:
    """What handlers work with.

    Attributes:
        database: of this sidecar: agents, operators, receipts.
        shared: of all sidecars together: budgets, locks, sessions of operators.
        agents: those that are not revoked.
        http: how OpenID providers are asked.
        enforcing: None where no versions of the policies are kept.
        roll_back: puts an earlier set of policies in force; raises `BriefcaseError`.
    """

    database: Engine
    shared: Engine
    home: Path
    clock: Clock
    receipts: ReceiptLog
    approvals: Approvals
    approvers: Approvers
    registrar: Registrar
    slack: SlackIncoming
    agents: Callable[[], Iterable[Agent]]
    generation: Callable[[], Generation]
    http: HttpClient
    enforcing: Enforcing | None
    roll_back: Callable[[Wish], Awaitable[Version]]

    def tenant_of(self, agent: str) -> str:
        """The tenant of the agent of this name."""
        return next((one.tenant for one in self.agents() if one.name == agent), TENANT)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call by an operator whose role allows it; its query and body have been checked.

    Attributes:
        names: the variable parts of the path.
        since: of a stream that goes on: the id of the last event that was received.
    """

    operator: Operator
    services: ApiServices
    registry: OperatorRegistry
    names: Mapping[str, str] = field(default_factory=dict)
    query: BaseModel | None = None
    body: BaseModel | None = None
    since: str | None = None

    def agents(self) -> tuple[Agent, ...]:
        """Those that the operator may see."""
        return tuple(one for one in self.services.agents() if self.operator.may_see(one.tenant))

    def agent(self, name: str) -> Agent:
        """The one of this name. Raises `ProblemError` where the operator sees none."""
        found = next((one for one in self.agents() if one.name == name), None)
        if found is None:
            raise ProblemError("not_found", "There is no such agent.")
        return found

    def require_all_tenants(self) -> None:
        """Raises `ProblemError` where an operator of one tenant would change policies."""
        if self.operator.tenant is not None:
            raise ProblemError("forbidden", "Policies are those of all tenants.")

    def asked[M: BaseModel](self, model: type[M]) -> M:
        """The query."""
        assert isinstance(self.query, model)
        return self.query

    def sent[M: BaseModel](self, model: type[M]) -> M:
        """The body."""
        assert isinstance(self.body, model)
        return self.body

    async def record(self, change: str, target: str, *, tenant: str | None = None, **more: Value) -> None:
        """Make it durable who is about to do what, or was refused to. Before the effect. Raises `Refused`."""
        who: dict[str, Value] = {"by": self.operator.name, "via": self.operator.via}
        await self.services.receipts.record_change(
            {**more, **who, "change": change, "target": target, "tenant": tenant or self.operator.tenant}
        )


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A call by somebody who is not known yet. `host` is what they call us, one of our names; `source`, from where."""

    services: ApiServices
    logins: Logins
    host: str
    source: str
    body: BaseModel | None = None

    def sent[M: BaseModel](self, model: type[M]) -> M:
        """The body."""
        assert isinstance(self.body, model)
        return self.body


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream; `id` is what the next connection begins after."""

    id: str
    name: str
    data: BaseModel


type Handler = Callable[[Call], Awaitable[BaseModel]]
type Visitor = Callable[[Visit], Awaitable[BaseModel]]
type Stream = Callable[[Call], AsyncIterator[Event | None]]
"""Yields events as they happen, and None at least every few seconds where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the table: everything the server, the role check and the OpenAPI document need.

    Attributes:
        path: below `/api/v1`, with `{name}` for variable parts.
        visit: in place of `handler` where nobody has to be known; the path has no variable parts then.
        roles: who may.
        answer: the form of the answer; of each event's data where it is a stream.
        creates: the status is 201.
    """

    method: str
    path: str
    roles: frozenset[Role]
    answer: type[BaseModel]
    summary: str
    handler: Handler | None = None
    stream: Stream | None = None
    visit: Visitor | None = None
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    creates: bool = False

    @property
    def name(self) -> str:
        """The id of the operation."""
        chosen = self.handler or self.stream or self.visit
        assert chosen is not None
        return f"{chosen.__module__.rpartition('.')[2]}_{chosen.__name__}".rstrip("_")

    def allows(self, operator: Operator) -> bool:
        """Whether the operator's role and that of their token both may."""
        return operator.role in self.roles and operator.ceiling in self.roles
