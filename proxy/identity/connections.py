"""Agents whose connection proves who they are, and ends when that proof does. Stands before another `Authenticator`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.identity.svid import SvidProof
from proxy.model import BY_NAME, Agent

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.clock import Clock
    from proxy.errors import Denial
    from proxy.identity.directory import Directory
    from proxy.identity.registry import Authenticator
    from proxy.identity.svid import Svid


class ConnectionAuthenticator:
    """See `Authenticator`. `directory` tells the agents of now."""

    def __init__(self, behind: Authenticator, *, directory: Callable[[], Directory], clock: Clock) -> None:
        self._behind: Final = behind
        self._directory: Final = directory
        self._clock: Final = clock

    async def prepare(self, proxy_authorization: str | None) -> None:
        """See `Authenticator`."""
        await self._behind.prepare(proxy_authorization)

    def authenticate(
        self, proxy_authorization: str | None, source: str, lineage: tuple[str, ...] = ()
    ) -> Agent | Denial:
        """See `Authenticator`."""
        return self._behind.authenticate(proxy_authorization, source, lineage)

    def current(self, agent: Agent) -> Agent | None:
        """See `Authenticator`. Whatever its connection rests on must still hold."""
        if agent.proof is None:
            return self._behind.current(agent)
        now = self._behind.current(agent) if agent.proof.holds(self._clock.wall_ms()) else None
        return None if now is None else replace(now, proof=agent.proof)

    def named(self, name: str, token_id: str) -> Agent | None:
        """See `Authenticator`."""
        return self._behind.named(name, token_id)

    def of_svid(self, svid: Svid, trusted: Callable[[Svid], bool]) -> Agent | None:
        """Whose SVID it is; None where it is nobody's. `trusted`: whether its trust domain still has its CA."""
        name = self._directory().spiffe.get(str(svid.id))
        agent = None if name is None else self._behind.named(name, f"{BY_NAME}{svid.id}")
        if agent is None:
            return None
        proof = SvidProof(svid, agent.name, self._directory, trusted)
        return self.current(replace(agent, proof=proof))

    def narrowed(self, agent: Agent, proxy_authorization: str, source: str) -> Agent | None:
        """`agent`, known by its SVID, as a token of its own on top of that says; None for any other token (H-07)."""
        found = self._behind.authenticate(proxy_authorization, source)
        if not isinstance(found, Agent) or found.name != agent.name:
            return None
        return replace(found, proof=agent.proof)
