"""The composition root: settings become services, in one place, and end in the reverse order.

Nothing else constructs a service. `Sidecar` is what the commands hold: it reloads, drains and says whether it is ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from addons.firewall import Firewall
from addons.gate import Gate
from addons.ledger import Ledger
from addons.tunnel import Tunnel
from proxy.api.control import Control
from proxy.api.key_directory import KeyDirectory
from proxy.approval.service import Approvals
from proxy.approval.store import ApprovalStore
from proxy.confine.probe.standing import require_confined, standing
from proxy.db.engine import DATABASE, open_database
from proxy.egress.dial import Dialler
from proxy.egress.http import HttpClient
from proxy.egress.resolver import Resolver
from proxy.enforcing import Enforcing
from proxy.engine.lane import MitmproxyLane
from proxy.engine.selftest import self_test
from proxy.engine.tls import AgentSide, UpstreamSide
from proxy.errors import BriefcaseError
from proxy.firewall import Vocabulary, open_scanner
from proxy.front.entrance import Services
from proxy.front.listener import Front
from proxy.generation import build_generation, captures, login_slots
from proxy.pipeline import Pipeline
from proxy.policy_versions import PolicyVersions
from proxy.receipts.log import ReceiptLog
from proxy.services import credential_services, preload, resume, secret_stores, shared_database
from proxy.settings import Listener, boot_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
    from pathlib import Path

    from certs.authority import CertificateAuthority
    from proxy.capturing import Keeper
    from proxy.catalog.configuration import Configuration
    from proxy.clock import Clock
    from proxy.credentials.broker import Broker
    from proxy.credentials.memory import Memory
    from proxy.enforcing import Standing
    from proxy.identity.registry import Authenticator
    from proxy.model import Agent
    from proxy.secret import Secret
    from proxy.secretstore import SecretStores

_log: Final = logging.getLogger("proxy.app")
WATCH_AGENTS_S: Final = 2.0
NEED_A_RESTART: Final = ("listeners", "identity", "limits", "certificates", "secret_stores", "state", "logs")
TOKEN_CALL_S: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What differs between the commands that run a sidecar.

    Attributes:
        home: state directory; receipts and locks live there.
        label: of the receipt chain.
        agents: reads the agents there are now.
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


class Sidecar:
    """A running sidecar.

    Attributes:
        proxy: host and port of the first listener; `("", 0)` where it is not TCP.
        endpoints: of the first listener, then of each of `listeners.more`, as the configuration writes them, with the
            ports that were picked.
        dns: where the stub resolver answers; None where there is none.
    """

    def __init__(
        self,
        *,
        parts: Parts,
        pipeline: Pipeline,
        memory: Memory[Vocabulary],
        keeper: Keeper,
        broker: Broker,
        approvals: Approvals,
        receipts: ReceiptLog,
        lane: MitmproxyLane,
        front: Front,
        control: Control,
        enforcing: Enforcing | None,
    ) -> None:
        self.pipeline: Final = pipeline
        self.receipts: Final = receipts
        self.proxy: tuple[str, int] = ("", 0)
        self.endpoints: tuple[str, ...] = ()
        self.dns: tuple[str, int] | None = None
        self.control: tuple[str, int] = ("", 0)
        self.reloads = 0
        self._parts: Final = parts
        self._memory: Final = memory
        self._keeper: Final = keeper
        self._broker: Final = broker
        self.approvals: Final = approvals
        self._lane: Final = lane
        self._front: Final = front
        self._control: Final = control
        self._enforcing: Final = enforcing
        self._agents = frozenset(agent.name for agent in parts.agents())
        self._configuration = parts.configuration

    @property
    def generation(self) -> int:
        """The number of the configuration in force; the first is 1."""
        return self.pipeline.generation.number

    async def start(self) -> None:
        """Listen. Raises `BriefcaseError` when an address is taken."""
        listeners = self._configuration.settings.listeners
        await self._lane.start()
        host, port = _split(listeners.control)
        try:
            self.control = (host, await self._control.start(host, port))
        except OSError as error:
            raise BriefcaseError(f"{listeners.control}: {error.strerror or error}") from None
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
        """
        old = self._configuration.settings
        new = configuration.settings
        for name in NEED_A_RESTART:
            if getattr(new, name) != getattr(old, name):
                raise BriefcaseError(f"a change of {name} needs a restart; the old configuration stays")
        if new.egress.connect_timeout_s != old.egress.connect_timeout_s:
            raise BriefcaseError("a change of egress.connect_timeout_s needs a restart; the old configuration stays")
        if (new.mode, new.confinement) != (old.mode, old.confinement):
            require_confined(new, now_ms=self._parts.clock.wall_ms())
        wanted = self._enforcing.standing(configuration) if self._enforcing is not None else None
        await self._install(wanted.configuration if wanted is not None else configuration, self.generation + 1, wanted)

    async def rejected(self, mistakes: int) -> None:
        """Note that a configuration with `mistakes` was not put in force."""
        if self._enforcing is not None:
            await self._enforcing.rejected(mistakes)

    async def watch_agents(self) -> None:
        """Give agents that are added while we run their stand-ins."""
        while True:
            await asyncio.sleep(WATCH_AGENTS_S)
            names = frozenset(agent.name for agent in self._parts.agents())
            if names != self._agents:
                await self._install(self._configuration, self.generation + 1)

    async def _install(self, configuration: Configuration, number: int, wanted: Standing | None = None) -> None:
        granted = configuration.settings.agents  # the registry learns of them only once they are in force
        agents = tuple(
            replace(agent, accounts=granted[agent.name].accounts) if agent.name in granted else agent
            for agent in self._parts.agents()
        )
        generation = build_generation(number, configuration, agents, stand_in_key=self._parts.stand_in_key)
        await preload(self._memory, generation.accounts, configuration)
        await resume(self._broker, generation.accounts)
        if self._enforcing is not None and wanted is not None:
            await self._enforcing.put(wanted, self.pipeline.generation.policies, agents, "reload")
        self._parts.authority.rehost(generation.catalog.patterns())
        self.approvals.settings = configuration.settings.approvals
        self.pipeline.generation = replace(generation, stand_ins=generation.stand_ins.plus(self._keeper.stand_ins()))
        self._memory.replace_stand_ins(self.pipeline.generation.stand_ins)
        self._configuration = configuration
        self._agents = frozenset(agent.name for agent in agents)
        _log.info("configuration %d is in force", number)

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
        return self._front.addresses | {self.control}

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
        return {"confinement": str(standing(self._configuration.settings, now_ms=now_ms))}

    def gauges(self) -> dict[str, int]:
        """Numbers of now."""
        return {"connections": self._front.connections, "generation": self.generation}


@contextlib.asynccontextmanager
async def running(parts: Parts) -> AsyncIterator[Sidecar]:
    """A sidecar that listens; at the end it drains. Raises `BriefcaseError` when it cannot start."""
    settings = parts.configuration.settings
    require_confined(settings, now_ms=parts.clock.wall_ms())
    async with contextlib.AsyncExitStack() as stack:
        database = open_database(parts.home / DATABASE)
        stack.callback(database.dispose)
        started: list[Sidecar] = []

        def listening() -> frozenset[tuple[str, int]]:
            return started[0].listeners() if started else frozenset()

        stores = parts.stores
        if stores is None:
            stores = secret_stores(
                settings,
                home=parts.home,
                environment=parts.environment,
                clock=parts.clock,
                passphrase=parts.passphrase,
                hosts=parts.hosts,
                own_listeners=listening,
            )
            stack.push_async_callback(stores.close)
        spawn = await stack.enter_async_context(_background())  # ends before the stores do: it may still ask them
        receipts = ReceiptLog.open(
            database=database, home=parts.home, label=parts.label, clock=parts.clock, resume=parts.resume
        )
        stack.push_async_callback(receipts.close)
        await self_test(settings.limits)
        enforcing: Enforcing | None = None
        if parts.author is not None:
            enforcing = Enforcing(PolicyVersions(database, parts.clock), receipts, parts.clock, parts.author)
            parts = replace(parts, configuration=await enforcing.begin(parts.configuration, tuple(parts.agents())))
        generation = build_generation(1, parts.configuration, parts.agents(), stand_in_key=parts.stand_in_key)
        parts.authority.rehost(generation.catalog.patterns())
        sidecar: Sidecar
        dialler = Dialler(
            resolver=Resolver(clock=parts.clock, timeout_s=settings.egress.connect_timeout_s, hosts=parts.hosts),
            connect_timeout_s=settings.egress.connect_timeout_s,
            own_listeners=listening,
            read_secret=partial(stores.get, at_least=1),  # no answer can quote what only the upstream proxy sees
        )
        pipeline: Pipeline
        shared = await shared_database(settings.state, database, stores)
        if shared is not database:
            stack.callback(shared.dispose)
        credentials = await credential_services(
            settings.state,
            key_settings=settings.keys,
            home=parts.home,
            database=shared,
            stores=stores,
            clock=parts.clock,
            http=HttpClient(dialler=dialler, timeout_s=TOKEN_CALL_S),
            routes=lambda: pipeline.generation,
            spawn=spawn,
            asks_consent=parts.asks_consent,
        )
        approvals = Approvals(
            ApprovalStore(shared, credentials.seal, parts.clock, boot=boot_id()),
            settings=settings.approvals,
            key=credentials.seal.derived("approval fingerprints"),
            clock=parts.clock,
        )
        credentials.keeper.load(partial(login_slots, parts.configuration.profiles))
        generation = replace(generation, stand_ins=generation.stand_ins.plus(credentials.keeper.stand_ins()))
        credentials.memory.replace_stand_ins(generation.stand_ins)
        await preload(credentials.memory, generation.accounts, parts.configuration)
        pipeline = Pipeline(
            generation=generation,
            broker=credentials.broker,
            memory=credentials.memory,
            receipts=receipts,
            clock=parts.clock,
            authenticator=parts.authenticator,
            keeper=credentials.keeper,
            approvals=approvals,
        )
        tunnel = Tunnel(AgentSide(parts.authority), UpstreamSide())
        lane = MitmproxyLane(
            addons=(Gate(pipeline), Firewall(pipeline), Ledger(pipeline), tunnel),
            dialler=dialler,
            limits=settings.limits,
        )
        front = Front(Services(pipeline, parts.authenticator, lane, dialler, settings.limits))
        control = Control(
            tally=pipeline.tally,
            checks=lambda: sidecar.checks(),  # noqa: PLW0108
            gauges=lambda: sidecar.gauges(),  # noqa: PLW0108
            details=lambda: sidecar.details(),  # noqa: PLW0108
            directory=KeyDirectory(
                generation=lambda: pipeline.generation, keys=credentials.keys, clock=parts.clock
            ).answer,
        )
        stack.push_async_callback(control.close)
        sidecar = Sidecar(
            parts=parts,
            pipeline=pipeline,
            memory=credentials.memory,
            keeper=credentials.keeper,
            broker=credentials.broker,
            approvals=approvals,
            receipts=receipts,
            lane=lane,
            front=front,
            control=control,
            enforcing=enforcing,
        )
        started.append(sidecar)
        stack.push_async_callback(sidecar.drain)
        await resume(credentials.broker, generation.accounts)
        stack.callback(spawn(credentials.broker.watch()).cancel)
        stack.callback(spawn(approvals.watch()).cancel)
        stack.callback(spawn(credentials.keeper.watch(lambda: captures(pipeline.generation.catalog))).cancel)
        await sidecar.start()
        yield sidecar


@contextlib.asynccontextmanager
async def _background() -> AsyncIterator[Callable[[Coroutine[None, None, None]], asyncio.Task[None]]]:
    """Starts tasks that are waited for at the end, also where the block fails: what they began is not cut off."""
    failure: BaseException | None = None
    async with asyncio.TaskGroup() as tasks:
        try:
            yield tasks.create_task
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # raised again, not within a group
            failure = error
    if failure is not None:
        raise failure


def _split(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)
