"""Whether who asks may still ask: its token, its grants, what is locked. Asked for each request and while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.caller import not_now
from proxy.errors import Denial, Refused
from proxy.identity.locks import ALL
from proxy.model import Called

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.clock import Clock
    from proxy.decision import Generation
    from proxy.exchange import Exchange, Tunnel
    from proxy.identity.locks import Key, Locks
    from proxy.identity.registry import Authenticator
    from proxy.model import Agent

REVOKED: Final = "revoked"
LOCKED: Final = "locked_down"


class Rights:
    """`authenticator` says who an agent is now, `locks` what is stopped, `generation` whose accounts there are."""

    def __init__(
        self, authenticator: Authenticator, locks: Locks, clock: Clock, generation: Callable[[], Generation]
    ) -> None:
        self.authenticator: Final = authenticator
        self._locks: Final = locks
        self._clock: Final = clock
        self._generation: Final = generation

    def locked(self, exchange: Exchange) -> Denial | None:
        """Why nobody may make this call now."""
        return self._locked(exchange.tunnel.agent, exchange.account, exchange.profile)

    def require(self, exchange: Exchange) -> None:
        """Raises `Refused`: the call was locked, or its agent lost its rights, while it was made ready."""
        if (denial := self.locked(exchange)) is not None:
            raise Refused(denial)
        if self.fault(exchange.tunnel, exchange) is not None:
            raise Refused(not_now())

    def unread(self, tunnel: Tunnel) -> Denial | None:
        """Why nothing may be passed through a tunnel unread: also the limits of a task token have to cover it."""
        session, authority = tunnel.agent.session, tunnel.authority
        if session is not None and authority is not None:
            called = Called(self._clock.wall_ms(), authority.host)
            if not session.permits(called):
                return Denial("policy_denied", "The task token does not cover this host.", by="policy")
        return self._locked(tunnel.agent, None, None)

    def admitted(self, exchange: Exchange) -> Agent | None:
        """The agent as it is now; None where what runs must end."""
        agent = exchange.tunnel.agent
        return None if self.fault(exchange.tunnel, exchange) else self.authenticator.current(agent)

    def passing(self, tunnel: Tunnel) -> Agent | None:
        """The agent of a tunnel that is passed through; None where it must end."""
        return None if self.fault(tunnel, None) else self.authenticator.current(tunnel.agent)

    def fault(self, tunnel: Tunnel, exchange: Exchange | None) -> str | None:
        """Why a connection, or what runs on it, must end now; None where it may go on."""
        agent = tunnel.agent if exchange is None else exchange.tunnel.agent
        account, profile = (None, None) if exchange is None else (exchange.account, exchange.profile)
        now = self.authenticator.current(agent)
        if self._locked(now or agent, account, profile) is not None:
            return LOCKED
        if now is None or (account is not None and not self._covers(now, account)):
            return REVOKED
        return None

    def _covers(self, agent: Agent, account: str) -> bool:
        """Whether the account is still there, and the agent's to use."""
        accounts = self._generation().accounts.get(account.partition("/")[0], ())
        return any(str(one.id) == account and agent.may_use(one.id, one.tenant) for one in accounts)

    def _locked(self, agent: Agent, account: str | None, profile: str | None) -> Denial | None:
        if self._locks.stale:
            return Denial("policy_unavailable", "What is locked cannot be read.", by="locks")
        if self._locks.holds(self._keys(agent, account, profile)):
            return Denial("locked_down", "The operator has stopped this for now.", by="locks")
        return None

    def _keys(self, agent: Agent, account: str | None, profile: str | None) -> Iterator[Key]:
        yield ALL, ""
        yield "agent", agent.name
        yield "tenant", agent.tenant
        if agent.user is not None:
            yield "user", agent.user.name
        if account is not None:
            yield "account", account
        if profile is not None:
            yield "provider", profile
            described = self._generation().catalog.profiles.get(profile)
            if described is not None and described.provider is not None:
                yield "provider", described.provider
