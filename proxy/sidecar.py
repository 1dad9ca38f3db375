"""`Sidecar`: what the commands hold of a running sidecar: it reloads, drains and says whether it is ready."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from proxy.confine.probe.standing import require_confined, standing
from proxy.enforcing import BusyError
from proxy.errors import BriefcaseError
from proxy.firewall import Vocabulary, open_scanner
from proxy.generation import build_generation
from proxy.identity.directory import Directory
from proxy.services import (
    preload,
    resume,
)
from proxy.settings import Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from certs.authority import CertificateAuthority
    from proxy.api.control import Control
    from proxy.api.listener import ApiListener
    from proxy.approval_services import ApprovalServices
    from proxy.capturing import Keeper
    from proxy.catalog.configuration import Configuration
    from proxy.clock import Clock, ClockWatch
    from proxy.credentials.broker import Broker
    from proxy.credentials.memory import Memory
    from proxy.enforcing import Enforcing
    from proxy.engine.lane import MitmproxyLane
    from proxy.front.listener import Front
    from proxy.identity.registry import Authenticator
    from proxy.model import Agent
    from proxy.pipeline import Pipeline
    from proxy.policy_change import Admitted
    from proxy.policy_standing import Wish
    from proxy.policy_versions import Version
    from proxy.receipts.log import ReceiptLog
    from proxy.secret import Secret
    from proxy.secretstore import SecretStores
    from proxy.settings import Settings

_log: Final = logging.getLogger("proxy.app")
WATCH_AGENTS_S: Final = 2.0
WATCH_RIGHTS_S: Final = 0.5
NEED_A_RESTART: Final = ("listeners", "identity", "limits", "certificates", "secret_stores", "state", "logs")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What differs between the commands that run a sidecar.

    Attributes:
        home: state directory; receipts and locks live there.
        label: of the receipt chain.
        agents: reads the agents there are now.
        described: reads them as another configuration says they are; None: what it does not name stays as it is.
        authenticator: judges their tokens.
        authority: the interception CA.
        stand_in_key: 32 bytes; the same key gives the same stand-ins.
        environment: for the `env:` and `exec:` stores.
        passphrase: of the `local:` store, where it has one.
        hosts: names pinned to addresses, as `/etc/hosts` would; for tests and the demonstration.
        resume: go on with the last chain of this label instead of a new one.
        author: who runs the sidecar, where every set of policies is kept, receipted and may be brought back.
        asks_consent: secrets go to new origins only after `briefcased accounts consent`.
        stores: where the command has opened them before, and closes them after; None: the sidecar has its own.
        redirect: told of the settings in force where those of `configuration` wait, before anybody can connect.
    """

    home: Path
    label: str
    configuration: Configuration
    agents: Callable[[], Iterable[Agent]]
    authenticator: Authenticator
    authority: CertificateAuthority
    stand_in_key: bytes
    environment: Mapping[str, str]
    clock: Clock
    passphrase: Secret | None = None
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    resume: bool = False
    author: str | None = None
    asks_consent: bool = True
    stores: SecretStores | None = None
    redirect: Callable[[Settings], None] | None = None
    described: Callable[[Directory], Iterable[Agent]] | None = None


class Sidecar:
    """A running sidecar.

    Attributes:
        proxy: host and port of the first listener; `("", 0)` where it is not TCP.
        endpoints: of the first listener, then of each of `listeners.more`, as the configuration writes them, with the
            ports that were picked.
        dns: where the stub resolver answers; None where there is none.
        api: where the control API answers by TCP, None where it does not; `admin` is its unix socket.
    """

    def __init__(
        self,
        *,
        parts: Parts,
        pipeline: Pipeline,
        memory: Memory[Vocabulary],
        keeper: Keeper,
        broker: Broker,
        people: ApprovalServices,
        receipts: ReceiptLog,
        lane: MitmproxyLane,
        front: Front,
        control: Control,
        enforcing: Enforcing | None,
        api: ApiListener | None,
        watch: ClockWatch,
    ) -> None:
        self.pipeline: Final = pipeline
        self.receipts: Final = receipts
        self.proxy: tuple[str, int] = ("", 0)
        self.endpoints: tuple[str, ...] = ()
        self.dns: tuple[str, int] | None = None
        self.control: tuple[str, int] = ("", 0)
        self.api: tuple[str, int] | None = None
        self.admin: Final = parts.configuration.settings.listeners.admin
        self.reloads = 0
        self._parts: Final = parts
        self._memory: Final = memory
        self._keeper: Final = keeper
        self._broker: Final = broker
        self.people: Final = people
        self.approvals: Final = people.approvals
        self._lane: Final = lane
        self._front: Final = front
        self._control: Final = control
        self._enforcing: Final = enforcing
        self._api: Final = api
        self._watch: Final = watch
        self._agents = _lives(parts.agents())
        self._turn: Final = asyncio.Lock()
        self._configuration = parts.configuration
        self.directory = Directory.of(parts.configuration.settings)

    @property
    def generation(self) -> int:
        """The number of the configuration in force; the first is 1."""
        return self.pipeline.generation.number

    @property
    def configuration(self) -> Configuration:
        """What is in force: not what was asked for, while that waits for a confirmation."""
        return self._configuration

    @property
    def waiting(self) -> int | None:
        """The version of the policies that waits for a confirmation."""
        return self._enforcing.waiting if self._enforcing is not None else None

    async def confirmation(self) -> None:
        """Return when a version that waited has been confirmed: then a reload puts it in force."""
        if self._enforcing is None:
            await asyncio.Future[None]()
            return
        await self._enforcing.confirmed.wait()
        self._enforcing.confirmed.clear()

    async def start(self) -> None:
        """Listen. Raises `BriefcaseError` when an address is taken."""
        listeners = self._configuration.settings.listeners
        await self._lane.start()
        host, port = _split(listeners.control)
        try:
            self.control = (host, await self._control.start(host, port))
        except OSError as error:
            raise BriefcaseError(f"{listeners.control}: {error.strerror or error}") from None
        if self._api is not None:
            self.api = await self._api.start(listeners.api, listeners.admin)
        first = await self._front.start(Listener(at=listeners.proxy))
        self.proxy = first.address or self.proxy
        others = [await self._front.start(listener) for listener in listeners.more]
        if listeners.dns is not None:
            self.dns = (await self._front.resolve(listeners.dns)).address
        self.endpoints = tuple(one.endpoint for one in (first, *others))

    async def reload(self, configuration: Configuration) -> None:
        """Put another configuration in force, whole; requests under way keep theirs.

        Raises:
            BriefcaseError: it cannot be put in force; the old one stays.
            WaitingError: it allows more, and must be confirmed first.
        """
        async with self._turn:
            await self._reload(configuration)

    async def _reload(self, configuration: Configuration) -> None:
        old = self._configuration.settings
        new = configuration.settings
        for name in NEED_A_RESTART:
            if getattr(new, name) != getattr(old, name):
                raise BriefcaseError(f"a change of {name} needs a restart; the old configuration stays")
        if new.egress.connect_timeout_s != old.egress.connect_timeout_s:
            raise BriefcaseError("a change of egress.connect_timeout_s needs a restart; the old configuration stays")
        if (new.mode, new.confinement) != (old.mode, old.confinement):
            require_confined(new, now_ms=self._parts.clock.wall_ms())
        if self._enforcing is None:
            await self._install(configuration, self.generation + 1)
            self._watch.accept()
            return
        in_force, agents = self.pipeline.generation, self._described(configuration)
        admitted = await self._enforcing.reloaded(configuration, in_force.policies, in_force.rollout, agents)
        await self._install(admitted.configuration, self.generation + 1, admitted)
        self._watch.accept()

    async def roll_back(self, wish: Wish) -> Version:
        """Put an earlier set of policies in place of those in force, and return what is kept of that.

        Nothing is read again, and all else stays.

        Raises:
            BusyError: a reload is under way; nothing has been done.
            UnfitError: the set does not fit the configuration.
            WaitingError: it allows more, and must be confirmed first.
            BriefcaseError: no versions are kept, or it cannot be put in force.
        """
        if self._enforcing is None:
            raise BriefcaseError("this sidecar keeps no versions of its policies")
        if self._turn.locked():
            raise BusyError
        async with self._turn:
            in_force, agents = self.pipeline.generation, self._described(self._configuration)
            now = self._configuration
            admitted = await self._enforcing.back(wish, now, in_force.policies, in_force.rollout, agents)
            if admitted.standing.is_new:
                await self._install(admitted.configuration, self.generation + 1, admitted)
            return self._enforcing.last()

    async def rejected(self, mistakes: int) -> None:
        """Note that a configuration with `mistakes` was not put in force."""
        if self._enforcing is not None:
            await self._enforcing.rejected(mistakes)

    async def watch_agents(self) -> None:
        """Give agents that are added while we run their stand-ins."""
        while True:
            await asyncio.sleep(WATCH_AGENTS_S)
            if _lives(self._parts.agents()) != self._agents:
                async with self._turn:  # what is in force may change while we wait for it
                    await self._install(self._configuration, self.generation + 1)

    async def _install(self, configuration: Configuration, number: int, admitted: Admitted | None = None) -> None:
        agents = self._described(configuration)
        generation = build_generation(number, configuration, agents, stand_in_key=self._parts.stand_in_key)
        await preload(self._memory, generation.accounts, configuration)
        await resume(self._broker, generation.accounts)
        if self._enforcing is not None and admitted is not None:
            await self._enforcing.put(admitted)
        self._parts.authority.rehost(generation.catalog.patterns())
        self.approvals.settings = configuration.settings.approvals
        self.pipeline.generation = replace(generation, stand_ins=generation.stand_ins.plus(self._keeper.stand_ins()))
        self._memory.replace_stand_ins(self.pipeline.generation.stand_ins)
        self._configuration = configuration
        self._agents = _lives(agents)
        self.directory = Directory.of(configuration.settings)
        if self._api is not None:
            self._api.reloaded()
        _log.info("configuration %d is in force", number)

    def _described(self, configuration: Configuration) -> tuple[Agent, ...]:
        """Agents as `configuration` says they are: the registry learns of that once it is in force."""
        directory = Directory.of(configuration.settings)
        if self._parts.described is not None:
            return tuple(self._parts.described(directory))
        known = ((directory.agents.get(agent.name, agent), agent.life) for agent in self._parts.agents())
        return tuple(replace(agent, life=life) for agent, life in known)

    async def watch_rights(self) -> None:
        """Cut what runs for whoever was stopped, or has lost the right to it (F-14)."""
        while True:
            await asyncio.sleep(WATCH_RIGHTS_S)
            self._lane.cut(self.pipeline.rights.fault)

    async def drain(self) -> None:
        """Stop accepting, let what is under way finish for a time, then record and close."""
        self.pipeline.draining = True
        self.approvals.stop()
        self._front.stop_accepting()
        await self._lane.drain(self._configuration.settings.limits.drain_s)
        await self._front.close()
        await self.receipts.flush()

    def scrubbed(self, agent: str, text: bytes) -> bytes:
        """`text` as `agent` may see it: every secret that could be read is replaced by its stand-in."""
        scanner = open_scanner(self._memory.vocabulary(agent))
        return scanner.feed(text) + scanner.feed(b"")

    def bundle_pem(self) -> bytes:
        """The roots that agents must trust."""
        return self._parts.authority.bundle_pem()

    def listeners(self) -> frozenset[tuple[str, int]]:
        """Our own addresses: never dialled."""
        return self._front.addresses | {self.control} | ({self.api} if self.api is not None else set())

    def checks(self) -> dict[str, bool]:
        """What readiness depends on. The self-test passed, or there would be no sidecar."""
        return {
            "listening": self._front.listening,
            "receipts_writable": self.receipts.writable,
            "self_test": True,
            "not_draining": not self.pipeline.draining,
        }

    def details(self) -> dict[str, str]:
        """What readiness does not depend on, in words. Reads a file."""
        now_ms = self._parts.clock.wall_ms()
        settings = self._configuration.settings
        return {
            "confinement": str(standing(settings, now_ms=now_ms)),
            "policies": "observed" if settings.policies.observe else "enforced",
            "clock": "jumped: what policies ask the time for is refused" if self._watch.jumped() else "steady",
            **({} if self.waiting is None else {"waiting": f"version {self.waiting} of the policies is not confirmed"}),
        }

    def gauges(self) -> dict[str, int]:
        """Numbers of now."""
        waiting = int(self.waiting is not None)
        return {"connections": self._front.connections, "generation": self.generation, "policies_waiting": waiting}


def _lives(agents: Iterable[Agent]) -> frozenset[tuple[str, int]]:
    return frozenset((agent.name, agent.life) for agent in agents)


def _split(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)
