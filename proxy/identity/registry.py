"""Judges `Proxy-Authorization`: which agent is this, or a refusal."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from sqlalchemy.exc import SQLAlchemyError

from proxy.errors import Denial
from proxy.identity import store
from proxy.identity.throttle import Throttle
from proxy.identity.tokens import digest_of, token_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

    from proxy.clock import Clock
    from proxy.identity.directory import Directory
    from proxy.model import Agent

FRESH_S: Final = 0.5
"""How long a revoked token can still be believed."""
OF_NOBODY: Final = digest_of("")
"""What a token with an unknown id is compared with, so that it takes as long as any."""


class Authenticator(Protocol):
    """Says who is calling."""

    async def prepare(self, proxy_authorization: str | None) -> None:
        """Obtain what `authenticate` needs to judge this header; it does not wait itself."""
        ...

    def authenticate(
        self, proxy_authorization: str | None, source: str, lineage: tuple[str, ...] = ()
    ) -> Agent | Denial:
        """The agent, or `proxy_auth_required` or `proxy_auth_throttled`.

        `source` is the peer's address, or its user; `lineage` names its process and that one's ancestors, where
        the kernel tells.
        """
        ...

    def current(self, agent: Agent) -> Agent | None:
        """Who `agent` is now, with the grants of now; None when its token is revoked or has expired."""
        ...

    def named(self, name: str, token_id: str) -> Agent | None:
        """The agent of this name, with the grants of now; None when there is none, or it is revoked.

        For whoever is known without a token: `token_id` says by what, and begins with `BY_NAME`.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    digest: str
    agent: Agent
    expires_at_ms: int | None


def _required() -> Denial:
    return Denial("proxy_auth_required", "No valid agent token was sent.", by="front")


def _judge(
    known: Mapping[str, _Known], throttle: Throttle, header: str | None, source: str, *, now_s: float, now_ms: int
) -> Agent | Denial:
    """The decision. A token is compared in constant time; a missing one is no failure."""
    if header is None:
        return _required()
    presented = token_in(header)
    if presented is not None:
        token, token_id = presented
        entry = known.get(token_id)
        expected = entry.digest if entry is not None else OF_NOBODY
        matches = hmac.compare_digest(digest_of(token), expected)
        if matches and entry is not None and (entry.expires_at_ms is None or now_ms < entry.expires_at_ms):
            return entry.agent
    # A right token passes always, or one agent could lock out every other on its machine.
    if (wait_s := throttle.wait_s(source, now_s)) > 0:
        return Denial(
            "proxy_auth_throttled", "Too many wrong tokens from this address.", by="front", retry_after_s=wait_s
        )
    throttle.failed(source, now_s)
    return _required()


class StaticRegistry:
    """Agents that are known beforehand, by the digest of their token; for one run."""

    def __init__(self, agents: Mapping[str, Agent], clock: Clock) -> None:
        self._known: Final = {agent.token_id: _Known(digest, agent, None) for digest, agent in agents.items()}
        self._throttle: Final = Throttle()
        self._clock: Final = clock

    async def prepare(self, proxy_authorization: str | None) -> None:
        """Everything is known already."""

    def authenticate(
        self,
        proxy_authorization: str | None,
        source: str,
        lineage: tuple[str, ...] = (),  # noqa: ARG002  # these tokens are bound to no process
    ) -> Agent | Denial:
        """See `Authenticator`."""
        clock = self._clock
        return _judge(
            self._known, self._throttle, proxy_authorization, source, now_s=clock.monotonic_s(), now_ms=clock.wall_ms()
        )

    def current(self, agent: Agent) -> Agent | None:
        """See `Authenticator`."""
        if agent.by_name:
            return self.named(agent.name, agent.token_id)
        known = self._known.get(agent.token_id)
        return None if known is None else known.agent

    def named(self, name: str, token_id: str) -> Agent | None:
        """See `Authenticator`."""
        for known in self._known.values():
            if known.agent.name == name:
                return replace(known.agent, token_id=token_id)
        return None


class AgentRegistry:
    """Agents of the database, read again every half second at most.

    What the `directory` of the configuration says of an agent replaces what the database says.
    """

    def __init__(self, database: Engine, *, clock: Clock, directory: Directory) -> None:
        self._database: Final = database
        self._clock: Final = clock
        self._directory = directory
        self._throttle: Final = Throttle()
        self._known: dict[str, _Known] = {}
        self._named: dict[str, Agent] = {}
        self._read_s = float("-inf")

    def redirect(self, directory: Directory) -> None:
        """Another configuration is in force."""
        self._directory = directory
        self._read_s = float("-inf")

    def agents(self, directory: Directory | None = None) -> tuple[Agent, ...]:
        """Every agent that is not revoked, by name: those with a token, and those that the configuration names.

        `directory`: as they would be with another configuration.
        """
        directory = directory or self._directory
        rows = store.list_agents(self._database)
        known = {row.name: agent for row in rows if (agent := directory.agent(row)) is not None}
        found = {**directory.agents, **known}
        revoked = {row.name for row in rows if row.revoked_at_ms is not None}
        return tuple(found[name] for name in sorted(found.keys() - revoked))

    async def prepare(self, proxy_authorization: str | None) -> None:
        """Everything is known already."""

    def authenticate(
        self,
        proxy_authorization: str | None,
        source: str,
        lineage: tuple[str, ...] = (),  # noqa: ARG002  # these tokens are bound to no process
    ) -> Agent | Denial:
        """See `Authenticator`. When the database cannot be read, nobody is believed (P5)."""
        now_s = self._clock.monotonic_s()
        if not self._refreshed(now_s):
            return Denial("policy_unavailable", "The agents cannot be read.", by="front")
        return _judge(
            self._known, self._throttle, proxy_authorization, source, now_s=now_s, now_ms=self._clock.wall_ms()
        )

    def current(self, agent: Agent) -> Agent | None:
        """See `Authenticator`."""
        if agent.by_name:
            return self.named(agent.name, agent.token_id)
        known = self._known.get(agent.token_id) if self._refreshed(self._clock.monotonic_s()) else None
        if known is None or (known.expires_at_ms is not None and self._clock.wall_ms() >= known.expires_at_ms):
            return None
        return known.agent

    def named(self, name: str, token_id: str) -> Agent | None:
        """See `Authenticator`."""
        known = self._named.get(name) if self._refreshed(self._clock.monotonic_s()) else None
        return None if known is None else replace(known, token_id=token_id)

    def _refreshed(self, now_s: float) -> bool:
        """Whether what we know of the agents and their tokens is at most half a second old."""
        if now_s - self._read_s <= FRESH_S:
            return True
        try:
            tokens = store.valid_tokens(self._database)
            self._named = {agent.name: agent for agent in self.agents()}
        except SQLAlchemyError:
            return False
        self._known = {
            token.token_id: _Known(
                token.digest, replace(self._named[token.agent], token_id=token.token_id), token.expires_at_ms
            )
            for token in tokens
            if token.agent in self._named
        }
        self._read_s = now_s
        return True
