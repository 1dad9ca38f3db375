"""The Cedar schema: what policies may speak of. Generated, because parameters and fields come from the profiles. Pure.

    Agent in AgentGroup, Tenant     User in UserGroup, Tenant     Operation in Profile in Provider
    call > read | write | admin > one action for each operation that a policy names
    callWithoutApproval, callWithoutStrongApproval

Source: https://docs.cedarpolicy.com/schema/human-readable-schema.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CALL: Final = "call"
WITHOUT_APPROVAL: Final = "callWithoutApproval"
WITHOUT_STRONG: Final = "callWithoutStrongApproval"
GROUPS: Final = (CALL, "read", "write", "admin")
"""Actions that are groups: `==` and `in` mean the same for them."""
type FieldType = Literal["String", "Long", "Bool"]

_ENTITIES: Final = """\
entity Tenant;
entity AgentGroup in [Tenant];
entity UserGroup in [Tenant];
entity Agent in [AgentGroup, Tenant] { name: String, tenant: Tenant };
entity User in [UserGroup, Tenant] { name: String, tenant: Tenant };
entity Provider;
entity Profile in [Provider];
entity Operation in [Profile] { id: String, action: String, profile: Profile };
"""
_CONTEXT: Final = """\
type Context = {
  now: datetime, hour: Long, weekday: Long,
  mode: String, method: String, scheme: String, host: String, port: Long, path: String, websocket: Bool,
  account: String, data_class: String, first_use: Bool,
  body_bytes?: Long, task?: String, user?: User,
  cost_microusd: Long, budget_left_microusd?: Long,
  risk: Long, risk_reasons: Set<String>,
  params: Params, fields: Fields,
};
"""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What is particular to one configuration.

    Attributes:
        params: names of path parameters of every enabled operation.
        fields: validated body fields that profiles name, with their Cedar type.
        operations: `profile:operation` to its action, of every enabled operation.
    """

    params: frozenset[str] = frozenset()
    fields: Mapping[str, FieldType] = field(default_factory=dict)
    operations: Mapping[str, str] = field(default_factory=dict)

    def schema(self, named: Iterable[str] = ()) -> str:
        """The Cedar schema, with an action of its own for each operation in `named`."""
        params = ", ".join(f"{_quoted(name)}?: String" for name in sorted(self.params))
        fields = ", ".join(f"{_quoted(name)}?: {kind}" for name, kind in sorted(self.fields.items()))
        parts = [
            _ENTITIES,
            f"type Params = {{ {params} }};\n",
            f"type Fields = {{ {fields} }};\n",
            _CONTEXT,
            _action(CALL),
            *(_action(name, CALL) for name in GROUPS[1:]),
            _action(WITHOUT_APPROVAL),
            _action(WITHOUT_STRONG),
            *(_action(name, self.operations[name]) for name in sorted(set(named))),
        ]
        return "".join(parts)


def _action(name: str, group: str | None = None) -> str:
    parent = f" in [{_quoted(group)}]" if group is not None else ""
    return (
        f"action {_quoted(name)}{parent} appliesTo "
        "{ principal: [Agent, User], resource: [Operation], context: Context };\n"
    )


def _quoted(name: str) -> str:
    """A Cedar string literal. Cedar's escapes are JSON's for the names that are possible here."""
    return orjson.dumps(name).decode()
