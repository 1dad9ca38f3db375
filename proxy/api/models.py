"""The forms of the control API: what is sent and what is answered. The OpenAPI document is made from them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from proxy.documents import Strict
from proxy.identity.locks import MAX_REASON_CHARACTERS
from proxy.model import Action, Role  # noqa: TC001  # pydantic needs them at run time

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Reason = Annotated[str, Field(max_length=500)]
Grant = Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9_-]*/(\*|[a-z][a-z0-9_-]*))$", max_length=130)]


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""Takes 3.0 for an integer, as JSON Schema does."""
Limit = Annotated[int, Field(ge=1, le=1000)]
Scope = Literal["all", "tenant", "agent", "user", "account", "provider"]


class Query(BaseModel):
    """A query: its values arrive as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Form(Strict):
    """An answer."""


class Whoami(Form):
    """Who the API takes you for."""

    name: str
    role: Role
    token_role: Role
    tenant: str | None = Field(description="The only tenant that you see; null: all.")
    via: str


class AgentView(Form):
    """An agent. Tokens cannot be shown."""

    name: str
    tenant: str
    accounts: list[str]
    revoked: bool


class Agents(Form):
    """Agents by name."""

    agents: list[AgentView]


class NewAgent(Strict):
    """An agent to add, or to give a further token."""

    name: Name
    accounts: Annotated[list[Grant], Field(max_length=100)] = []
    tenant: Name | None = Field(default=None, description="Of a new agent, where tenants are declared; else your own.")
    groups: Annotated[list[Name], Field(max_length=100)] | None = Field(default=None, description="Those it is in.")
    users: Annotated[list[Name], Field(max_length=100)] | None = Field(
        default=None, description="On whose behalf it may act."
    )
    days: Annotated[int, Field(ge=1, le=3650), WHOLE] | None = None


class Token(Form):
    """A new token. This is the only time it is shown."""

    name: str
    token: str
    expires_at_ms: int | None


class Done(Form):
    """It has been done."""

    done: Literal[True] = True


class AccountView(Form):
    """An account, without its secrets and without where they rest."""

    account: str
    provider: str
    actions: list[Action]
    default: bool
    credentials: list[str]


class Accounts(Form):
    """Accounts of the configuration in force."""

    accounts: list[AccountView]


class Usage(Form):
    """One counter of a budget."""

    budget: str
    of: dict[str, str]
    window_from_ms: int = Field(description="Number of the bucket that the counter is kept in.")
    used: int
    held: int


class Usages(Form):
    """Counters of budgets."""

    usage: list[Usage]


class ApprovalView(Form):
    """An approval, without what is asked."""

    id: str
    tenant: str
    agent: str
    user: str | None
    account: str
    profile: str
    operation: str
    state: Literal["pending", "approved", "rejected", "expired", "withdrawn", "consumed"]
    strength: Literal["none", "approval", "strong"]
    needs: int
    approvers: list[str]
    created_at_ms: int
    until_ms: int = Field(description="Until when it can be decided; once approved, until when it can be used.")
    receipt: str | None


class Approvals(Form):
    """Approvals, the newest first."""

    approvals: list[ApprovalView]


class ApprovalsQuery(Query):
    """Which approvals."""

    state: Literal["pending", "approved", "rejected", "expired", "withdrawn", "consumed"] | None = None
    limit: Limit = 100


class GrantsQuery(Query):
    """How many grants."""

    limit: Limit = 100


class ReceiptsQuery(Query):
    """Which calls."""

    limit: Limit = 50
    agent: Name | None = None
    refused: bool = False


class Receipt(Form):
    """A call: its decision and, where it was allowed and has ended, its outcome."""

    decision: dict[str, Any]
    outcome: dict[str, Any] | None


class Receipts(Form):
    """Calls, oldest first."""

    receipts: list[Receipt]


class Verification(Form):
    """Whether all receipts are whole."""

    ok: bool
    chains: int
    records: int
    calls: int
    problems: list[str]


class ChangesQuery(Query):
    """How many changes."""

    limit: Limit = 50


class Changes(Form):
    """What operators have changed, or were refused to change: the newest first."""

    changes: list[dict[str, Any]]


_NAMED: Final[dict[str, JsonValue]] = {
    "oneOf": [
        {"properties": {"scope": {"const": "all"}, "name": {"const": ""}}},
        {"properties": {"scope": {"not": {"const": "all"}}, "name": {"minLength": 1}}, "required": ["name"]},
    ]
}
"""`LockRequest._named`, for those who read the schema."""


class LockRequest(Strict):
    """What to lock, or to unlock: the tenant, agent, user, account or provider of this name, or everything."""

    model_config = ConfigDict(json_schema_extra=_NAMED)

    scope: Scope
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9@][a-zA-Z0-9@_/.-]{0,253}$|^$")] = ""
    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON_CHARACTERS, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.scope == "all") != (self.name == ""):
            raise ValueError("name goes with every scope but `all`")
        return self


class LockView(Form):
    """What is stopped, why, since when (UTC, milliseconds since 1970), and by whom."""

    scope: str
    name: str
    reason: str
    by: str
    at_ms: int


class LocksView(Form):
    """What is locked."""

    locks: list[LockView]


class OperatorView(Form):
    """An operator. Tokens cannot be shown."""

    name: str
    role: Role
    tenant: str | None
    revoked: bool


class Operators(Form):
    """Operators by name."""

    operators: list[OperatorView]


class NewOperator(Strict):
    """An operator to add."""

    name: Name
    role: Annotated[Role, Field(strict=False)]
    tenant: Name | None = None
    hours: Annotated[int, Field(ge=1, le=2160), WHOLE] = 12
