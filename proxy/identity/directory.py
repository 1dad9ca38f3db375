"""Agents and users as the configuration describes them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol, Self

from proxy.model import TENANT, Agent, User

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.settings import Settings

UNPROVED: Final = "-"


class Described(Protocol):
    """An agent as the database describes it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def accounts(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def tenant(self) -> str | None: ...  # noqa: D102
    @property
    def groups(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def users(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def life(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Directory:
    """Who there is, by name. `agents` are those of the configuration; the database may know others.

    `spiffe` goes from SPIFFE IDs to the names of agents.
    """

    tenants: frozenset[str] = frozenset()
    users: Mapping[str, User] = field(default_factory=dict)
    agents: Mapping[str, Agent] = field(default_factory=dict)
    spiffe: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """That of a configuration that was checked."""
        return cls(
            tenants=frozenset(settings.tenants),
            users={
                name: User(name, entry.accounts, entry.tenant or TENANT, entry.groups)
                for name, entry in settings.users.items()
            },
            agents={
                name: Agent(name, entry.accounts, UNPROVED, entry.tenant or TENANT, entry.groups, users=entry.users)
                for name, entry in settings.agents.items()
            },
            spiffe={entry.spiffe: name for name, entry in settings.agents.items() if entry.spiffe is not None},
        )

    def agent(self, row: Described) -> Agent | None:
        """The agent of `row`: the configuration goes before the table.

        None where its tenant is none of those that are declared: there is no default one (H-12).
        """
        if (own := self.agents.get(row.name)) is not None:
            return replace(own, life=row.life)
        if (row.tenant is None) != (not self.tenants) or (row.tenant is not None and row.tenant not in self.tenants):
            return None
        tenant = row.tenant or TENANT
        return Agent(row.name, row.accounts, UNPROVED, tenant, row.groups, users=row.users, life=row.life)

    def acting(self, agent: Agent, user: str | None) -> Agent | None:
        """`agent` on behalf of `user`; None where it may not act for them, or nobody has this name in its tenant."""
        if user is None:
            return agent
        found = self.users.get(user)
        if found is None or user not in agent.users or found.tenant != agent.tenant:
            return None
        return replace(agent, user=found)
