"""Agents that authenticate with a token of their platform: Kubernetes service accounts, OpenID Connect.

Stands before another `Authenticator`, which judges everything that is not a JWT and counts what fails.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from proxy.errors import Denial
from proxy.identity.jwt import jwt_in, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from proxy.clock import Clock
    from proxy.identity.directory import Directory
    from proxy.identity.jwt import Presented, Verified
    from proxy.identity.keys import Keys
    from proxy.identity.registry import Authenticator
    from proxy.identity_settings import TokenIssuer
    from proxy.model import Agent

MAX_REMEMBERED: Final = 4096
FRESH_S: Final = 0.5
LOOK_S: Final = 5.0
PREFIX: Final = "jwt_"


@dataclass(frozen=True, slots=True)
class _Remembered:
    verified: Verified
    keys: Keys


class WorkloadAuthenticator:
    """See `Authenticator`. `directory` has the agents of the configuration: a token of nobody else is worth anything.

    `revoked` tells the names of agents that were revoked; it raises SQLAlchemyError when that cannot be known, and then
    nobody is believed (P5).
    """

    def __init__(
        self,
        behind: Authenticator,
        issuers: Sequence[tuple[TokenIssuer, Keys]],
        *,
        directory: Directory,
        revoked: Callable[[], frozenset[str]],
        clock: Clock,
    ) -> None:
        self._behind: Final = behind
        self._issuers = tuple(issuers)
        self._directory = directory
        self._ask_revoked: Final = revoked
        self._clock: Final = clock
        self._remembered: Final[OrderedDict[str, _Remembered]] = OrderedDict()
        self._revoked: frozenset[str] = frozenset()
        self._read_s = float("-inf")

    def redirect(self, directory: Directory) -> None:
        """Another configuration is in force."""
        self._directory = directory

    def reissue(self, issuers: Sequence[tuple[TokenIssuer, Keys]]) -> None:
        """Other issuers count, before the first token is judged."""
        self._issuers = tuple(issuers)

    async def prepare(self, proxy_authorization: str | None) -> None:
        """Fetch the keys that `authenticate` will need for this header, where that may help."""
        token = jwt_in(proxy_authorization) if proxy_authorization is not None and self._issuers else None
        if token is None or token.id in self._remembered:
            return
        for issuer, keys in self._issuers:
            if issuer.issuer == token.issuer and token.algorithm in issuer.algorithms and keys.wanted_for(token):
                await keys.refresh(unknown_key=True)

    async def watch(self) -> None:
        """Keep every issuer's keys current, so that one that was taken back stops also where nobody new comes."""
        while True:
            for _, keys in self._issuers:
                await keys.refresh()
            await asyncio.sleep(LOOK_S)

    def authenticate(
        self, proxy_authorization: str | None, source: str, lineage: tuple[str, ...] = ()
    ) -> Agent | Denial:
        """See `Authenticator`."""
        token = jwt_in(proxy_authorization) if proxy_authorization is not None and self._issuers else None
        if token is None:
            return self._behind.authenticate(proxy_authorization, source, lineage)
        if not self._refreshed():
            return Denial("policy_unavailable", "The agents cannot be read.", by="front")
        agent = self._agent(token.id) or self._agent_of_new(token)
        if agent is not None:
            return agent
        if any(issuer.issuer == token.issuer and keys.current() is None for issuer, keys in self._issuers):
            return Denial("policy_unavailable", "The keys of this token's issuer cannot be read.", by="front")
        # No token of its own: a failure, counted there.
        return self._behind.authenticate(proxy_authorization, source, lineage)

    def current(self, agent: Agent) -> Agent | None:
        """See `Authenticator`."""
        if not agent.token_id.startswith(PREFIX):
            return self._behind.current(agent)
        return self._agent(agent.token_id) if self._refreshed() else None

    def named(self, name: str, token_id: str) -> Agent | None:
        """See `Authenticator`."""
        return self._behind.named(name, token_id)

    def _agent_of_new(self, token: Presented) -> Agent | None:
        now_s = self._clock.wall_ms() / 1000
        for issuer, keys in self._issuers:
            verified = verify(token, issuer, keys.current() or (), now_s=now_s)
            if verified is not None:
                self._remembered[token.id] = _Remembered(verified, keys)
                while len(self._remembered) > MAX_REMEMBERED:
                    self._remembered.popitem(last=False)
                return self._agent(token.id)
        return None

    def _agent(self, token_id: str) -> Agent | None:
        """Whom a verified token belongs to now: not out of date, its key still the issuer's, its agent still there."""
        known = self._remembered.get(token_id)
        if known is None:
            return None
        verified, keys = known.verified, known.keys.current() or ()
        if self._clock.wall_ms() / 1000 >= verified.expires_s or not any(key.print == verified.key for key in keys):
            del self._remembered[token_id]
            return None
        self._remembered.move_to_end(token_id)
        agent = self._directory.agents.get(verified.agent)
        if agent is None or verified.agent in self._revoked:
            return None
        return self._directory.acting(replace(agent, token_id=token_id), verified.user)

    def _refreshed(self) -> bool:
        """Whether what we know of revoked agents is at most half a second old."""
        now_s = self._clock.monotonic_s()
        if now_s - self._read_s > FRESH_S:
            try:
                self._revoked = self._ask_revoked()
            except SQLAlchemyError:
                return False
            self._read_s = now_s
        return True
