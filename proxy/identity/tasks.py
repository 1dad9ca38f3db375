"""Agents that authenticate with a token for one task. Stands before another `Authenticator`, which knows the agents."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.errors import Denial
from proxy.identity import processes, task_tokens
from proxy.identity.task_tokens import MAX_CHARACTERS, PREFIX, TEXT, TaskToken
from proxy.identity.tokens import credentials_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.clock import Clock
    from proxy.identity.directory import Directory
    from proxy.identity.locks import Locks
    from proxy.identity.registry import Authenticator
    from proxy.model import Agent

MAX_REMEMBERED: Final = 4096
MAX_HEADER_CHARACTERS: Final = MAX_CHARACTERS * 4 // 3 + 512
BY_USER: Final = "uid "
"""Begins the source of what comes through a unix socket."""


class TaskAuthenticator:
    """See `Authenticator`. `key` is the public half of what signs; `directory` tells the users of now."""

    def __init__(
        self, behind: Authenticator, *, key: bytes, directory: Callable[[], Directory], locks: Locks, clock: Clock
    ) -> None:
        self._behind: Final = behind
        self._key: Final = key
        self._directory: Final = directory
        self._locks: Final = locks
        self._clock: Final = clock
        self._remembered: Final[OrderedDict[bytes, TaskToken]] = OrderedDict()

    async def prepare(self, proxy_authorization: str | None) -> None:
        """See `Authenticator`."""
        await self._behind.prepare(proxy_authorization)

    def authenticate(
        self, proxy_authorization: str | None, source: str, lineage: tuple[str, ...] = ()
    ) -> Agent | Denial:
        """See `Authenticator`."""
        token = self._token(proxy_authorization) if proxy_authorization is not None else None
        if token is None:
            return self._behind.authenticate(proxy_authorization, source, lineage)
        if self._locks.stale:
            return Denial("policy_unavailable", "What is revoked cannot be read.", by="front")
        bound = frozenset().union(*token.peers)
        came_from = (peer_of(source), *(name for name in lineage if name in bound))
        agent = self._agent(replace(token, came_from=came_from))
        return agent or self._behind.authenticate(proxy_authorization, source, lineage)  # a failure, counted there

    def current(self, agent: Agent) -> Agent | None:
        """See `Authenticator`."""
        if not isinstance(agent.session, TaskToken):
            return self._behind.current(agent)
        return self._agent(agent.session)

    def named(self, name: str, token_id: str) -> Agent | None:
        """See `Authenticator`."""
        return self._behind.named(name, token_id)

    def _agent(self, token: TaskToken) -> Agent | None:
        """Whose the token is now: in time, not revoked, and its peer, its agent and its user still there."""
        token = replace(token, came_from=tuple(filter(_lives, token.came_from)))
        if not token.valid(self._clock.wall_ms()) or self._locks.stale or self._locks.revoked(token.ids):
            return None
        agent = self._behind.named(token.agent, token.id)
        acting = None if agent is None or agent.life != token.life else self._directory().acting(agent, token.user)
        return None if acting is None else replace(acting, task=token.task, session=token)

    def _token(self, header: str) -> TaskToken | None:
        """The task token that a header carries; verified ones are remembered."""
        if len(header) > MAX_HEADER_CHARACTERS:
            return None
        text = next((one for one in credentials_in(header) if TEXT.fullmatch(one)), None)
        if text is None:
            return None
        digest = hashlib.sha256(text.encode("ascii")).digest()
        token = self._remembered.get(digest) or task_tokens.read(text, self._key)
        if token is not None:
            self._remembered[digest] = token
            self._remembered.move_to_end(digest)
            while len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        return token


def _lives(peer: str) -> bool:
    """Whether a process has not ended yet; addresses and users do not end."""
    return not peer.startswith(processes.PREFIX) or processes.lives(peer)


def peer_of(source: str) -> str:
    """The peer as limits name it: `uid:NUMBER` or `ip:ADDRESS`."""
    return f"uid:{source.removeprefix(BY_USER)}" if source.startswith(BY_USER) else f"ip:{source}"


def revocable(text: str) -> str:
    """The id of a task token, from the id that receipts show or from the token itself. Raises `ValueError`."""
    if TEXT.fullmatch(text):
        return task_tokens.last_id(text)
    plain = text.removeprefix(PREFIX)
    if len(plain) == task_tokens.ID_CHARACTERS and set(plain) <= set("0123456789abcdef"):
        return plain
    raise ValueError("give the token, or its id as receipts show it")
