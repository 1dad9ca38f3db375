"""The entities that one question is about, with their ancestors. Pure.

Cedar's own checks of a request need only those that it can reach: the principal, the operation and the actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import orjson
from cedarpy import Entities

from proxy.policy.question import entity, uid
from proxy.policy.vocabulary import CALL, GROUPS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proxy.model import Agent, User
    from proxy.policy.question import Question, Value

type Uid = tuple[str, str]
"""Type and id of an entity."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose right is asked for: the agent, or the user it acts for."""

    kind: Literal["Agent", "User"]
    name: str
    tenant: str
    groups: tuple[str, ...]

    @property
    def uids(self) -> tuple[Uid, ...]:
        """Itself and every entity that it is in."""
        groups = ((f"{self.kind}Group", group) for group in self.groups)
        return ((self.kind, self.name), *groups, ("Tenant", self.tenant))

    def entities(self) -> list[dict[str, object]]:
        """Itself and its ancestors."""
        tenant = uid("Tenant", self.tenant)
        groups = [uid(f"{self.kind}Group", group) for group in self.groups]
        attributes: dict[str, Value] = {"name": self.name, "tenant": entity("Tenant", self.tenant)}
        return [
            _described(uid(self.kind, self.name), [*groups, tenant], attributes),
            *(_described(group, [tenant]) for group in groups),
            _described(tenant),
        ]


@dataclass(frozen=True, slots=True)
class Resource:
    """The operation that is asked for."""

    profile: str
    provider: str
    operation: str
    action: str

    @property
    def id(self) -> str:
        """Of its Operation entity."""
        return f"{self.profile}:{self.operation}"

    @property
    def uids(self) -> tuple[Uid, ...]:
        """Itself and every entity that it is in."""
        return ("Operation", self.id), ("Profile", self.profile), ("Provider", self.provider)

    def entities(self) -> list[dict[str, object]]:
        """Itself, its ancestors, and the actions that it may be asked with."""
        profile, provider = uid("Profile", self.profile), uid("Provider", self.provider)
        attributes: dict[str, Value] = {
            "id": self.operation,
            "action": self.action,
            "profile": entity("Profile", self.profile),
        }
        call = uid("Action", CALL)
        return [
            _described(uid("Operation", self.id), [profile], attributes),
            _described(profile, [provider]),
            _described(provider),
            _described(call),
            *(_described(uid("Action", name), [call]) for name in GROUPS[1:]),
            _described(uid("Action", self.id), [uid("Action", self.action)]),
        ]


def subjects(agent: Agent) -> tuple[Subject, ...]:
    """Everybody who must be allowed."""
    first = Subject("Agent", agent.name, agent.tenant, agent.groups)
    user: User | None = agent.user
    return (first,) if user is None else (first, Subject("User", user.name, user.tenant, user.groups))


def resource_of(question: Question) -> Resource:
    """The operation of `question`."""
    return Resource(question.profile, question.provider, question.operation, question.action.value)


def handle(subject: Subject, resource: Resource, others: tuple[Subject, ...]) -> Entities:
    """All of them, parsed; `others` are those whom the context may name."""
    everybody = (one for whose in (subject, *others) for one in whose.entities())
    # Two subjects of one tenant both describe it.
    described = {orjson.dumps(one["uid"]): one for one in (*everybody, *resource.entities())}
    return Entities.from_json_str(orjson.dumps(list(described.values())).decode())


def _described(
    identity: Mapping[str, Value],
    parents: Sequence[Mapping[str, Value]] = (),
    attributes: Mapping[str, Value] | None = None,
) -> dict[str, object]:
    return {"uid": identity, "attrs": attributes or {}, "parents": list(parents)}
