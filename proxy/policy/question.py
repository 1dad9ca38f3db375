"""What Cedar is asked about one request, as values that are never put together as text (I-10). Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.model import Action, Agent, Mode, RequestHead

type Value = str | int | bool | list[str] | Mapping[str, "Value"]
"""JSON as Cedar reads it; an entity is `{"__entity": {"type": …, "id": …}}`."""


@dataclass(frozen=True, slots=True)
class Question:
    """May `agent`, and the user it acts for, make this request?

    Attributes:
        provider: the profile's provider.
        params: path parameters, decoded.
        fields: body fields that the profile names, validated.
        body_bytes: of the whole body; None while it is unknown.
        cost_microusd: the most that the call may cost.
        budget_left_microusd: the least that is left of any budget in US dollars that applies; None where none does.
        risk: 0 to 100; 100 too where it could not be told.
        first_use: this agent has never before called this operation.
    """

    agent: Agent
    profile: str
    provider: str
    operation: str
    action: Action
    head: RequestHead
    account: str
    mode: Mode
    now_ms: int
    params: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str | int | bool] = field(default_factory=dict)
    data_class: str = ""
    first_use: bool = False
    body_bytes: int | None = None
    cost_microusd: int = 0
    budget_left_microusd: int | None = None
    risk: int = 0
    risk_reasons: tuple[str, ...] = ()

    @property
    def resource(self) -> str:
        """The id of the Operation entity."""
        return f"{self.profile}:{self.operation}"

    def context(self) -> dict[str, Value]:
        """The `Context` of the schema, in Cedar's JSON form."""
        moment = datetime.fromtimestamp(self.now_ms / 1000, UTC)
        head = self.head
        known: dict[str, Value | None] = {
            "now": {"__extn": {"fn": "datetime", "arg": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}},
            "hour": moment.hour,
            "weekday": moment.isoweekday(),
            "mode": self.mode.value,
            "method": head.method,
            "scheme": head.scheme,
            "host": head.authority.host,
            "port": head.authority.port,
            "path": head.path,
            "websocket": head.websocket,
            "account": self.account,
            "data_class": self.data_class,
            "first_use": self.first_use,
            "body_bytes": self.body_bytes if head.has_body else 0,
            "task": self.agent.task,
            "user": None if self.agent.user is None else entity("User", self.agent.user.name),
            "cost_microusd": self.cost_microusd,
            "budget_left_microusd": self.budget_left_microusd,
            "risk": self.risk,
            "risk_reasons": list(self.risk_reasons),
            "params": dict(self.params),
            "fields": dict(self.fields),
        }
        return {name: value for name, value in known.items() if value is not None}


def entity(kind: str, name: str) -> dict[str, Value]:
    """A reference to an entity, as a value."""
    return {"__entity": uid(kind, name)}


def uid(kind: str, name: str) -> dict[str, Value]:
    """An entity's id, structured."""
    return {"type": kind, "id": name}
