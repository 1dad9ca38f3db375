"""Agents and their tokens in the database."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import orjson
from sqlalchemy import insert, select, update

from proxy.db.engine import writing
from proxy.db.tables import agent_tokens, agents
from proxy.errors import BriefcaseError
from proxy.identity.tokens import new_token

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from proxy.clock import Clock

NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One agent; `life` is how often one of this name was revoked."""

    name: str
    accounts: tuple[str, ...]
    created_at_ms: int
    revoked_at_ms: int | None
    tenant: str | None = None
    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    life: int = 0


class Named(Protocol):
    """An agent of the configuration."""

    @property
    def tenant(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Belongs:
    """What is known of an agent beside its accounts: its tenant and groups, and on whose behalf it may act."""

    tenant: str | None = None
    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()

    @property
    def columns(self) -> dict[str, str | None]:
        """As they rest."""
        return {
            "tenant": self.tenant,
            "groups": orjson.dumps(self.groups).decode(),
            "users": orjson.dumps(self.users).decode(),
        }


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One token that is valid; `digest` is SHA-256 in hexadecimal."""

    token_id: str
    agent: str
    digest: str
    expires_at_ms: int | None


def add_agent(
    database: Engine,
    name: str,
    accounts: tuple[str, ...],
    *,
    clock: Clock,
    expires_at_ms: int | None = None,
    belongs: Belongs | None = None,
) -> str:
    """Add an agent, or give one that exists a further token; returns the token, which is not kept.

    `belongs` replaces what is known of an agent that exists; None leaves it.

    Raises:
        BriefcaseError: a bad name.
    """
    given = belongs or Belongs()
    for one in (name, *given.groups, *given.users, *([given.tenant] if given.tenant is not None else [])):
        if not NAME.fullmatch(one):
            raise BriefcaseError("a name is lower-case letters, digits, - and _, and starts with a letter")
    token_id, token, digest = new_token()
    now_ms = clock.wall_ms()
    with writing(database) as connection:
        known = connection.execute(select(agents.c.revoked_at_ms).where(agents.c.name == name)).first()
        if known is None:
            described = orjson.dumps(accounts).decode()
            connection.execute(
                insert(agents).values(name=name, accounts=described, created_at_ms=now_ms, **given.columns)
            )
        else:
            changed: dict[str, object] = {"revoked_at_ms": None}
            afresh = known.revoked_at_ms is not None  # whoever was revoked
            if accounts or afresh:
                changed["accounts"] = orjson.dumps(accounts).decode()
            if belongs is not None or afresh:
                changed |= given.columns
            connection.execute(update(agents).where(agents.c.name == name).values(changed))
        connection.execute(
            insert(agent_tokens).values(
                token_id=token_id, agent=name, digest=digest, created_at_ms=now_ms, expires_at_ms=expires_at_ms
            )
        )
    return token


def list_agents(database: Engine) -> list[AgentRow]:
    """Every agent there ever was, by name."""
    with database.connect() as connection:
        rows = connection.execute(select(agents).order_by(agents.c.name)).all()
    return [
        AgentRow(
            r.name,
            _texts(r.accounts),
            r.created_at_ms,
            r.revoked_at_ms,
            r.tenant,
            _texts(r.groups),
            _texts(r.users),
            r.life,
        )
        for r in rows
    ]


def _texts(described: str) -> tuple[str, ...]:
    return tuple(orjson.loads(described))


def revoked_agents(database: Engine) -> frozenset[str]:
    """The names of agents that are revoked."""
    query = select(agents.c.name).where(agents.c.revoked_at_ms.is_not(None))
    with database.connect() as connection:
        return frozenset(connection.execute(query).scalars())


def valid_tokens(database: Engine) -> list[TokenRow]:
    """Every token that is not revoked, of agents that are not; the caller looks at the expiry."""
    query = (
        select(agent_tokens)
        .join(agents, agents.c.name == agent_tokens.c.agent)
        .where(agent_tokens.c.revoked_at_ms.is_(None), agents.c.revoked_at_ms.is_(None))
    )
    with database.connect() as connection:
        rows = connection.execute(query).all()
    return [TokenRow(r.token_id, r.agent, r.digest, r.expires_at_ms) for r in rows]


def revoke_agent(database: Engine, name: str, *, clock: Clock, named: Named | None = None) -> bool:
    """Revoke an agent with all its tokens; False when there is none, or it was revoked before.

    `named`: as the configuration has it, where it does. An agent may be there without a row, and gets one.
    """
    now_ms = clock.wall_ms()
    with writing(database) as connection:
        there = update(agents).where(agents.c.name == name, agents.c.revoked_at_ms.is_(None))
        done = connection.execute(there.values(revoked_at_ms=now_ms, life=agents.c.life + 1)).rowcount > 0
        if not done and named is not None:
            known = connection.execute(select(agents.c.name).where(agents.c.name == name)).first()
            done = known is None
            if done:
                columns = {**Belongs(named.tenant).columns, "accounts": "[]", "created_at_ms": now_ms}
                connection.execute(insert(agents).values(name=name, revoked_at_ms=now_ms, life=1, **columns))
        theirs = (agent_tokens.c.agent == name) & agent_tokens.c.revoked_at_ms.is_(None)
        connection.execute(update(agent_tokens).where(theirs).values(revoked_at_ms=now_ms))
    return done
