"""The composition root: settings become services, in one place, and end in the reverse order.

Nothing else constructs a service.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from addons.firewall import Firewall
from addons.gate import Gate
from addons.ledger import Ledger
from addons.tunnel import Tunnel
from proxy.api.call import ApiServices
from proxy.api.control import Control
from proxy.api.key_directory import KeyDirectory
from proxy.api.opening import open_api
from proxy.budgeting import Holds
from proxy.clock import ClockWatch
from proxy.confine.probe.standing import require_confined
from proxy.control_services import control_services
from proxy.db.engine import DATABASE, open_database
from proxy.db.threads import in_thread
from proxy.egress.dial import Dialler
from proxy.egress.http import HttpClient
from proxy.egress.resolver import Resolver
from proxy.enforcing import Enforcing
from proxy.engine.lane import MitmproxyLane
from proxy.engine.selftest import self_test
from proxy.engine.tls import AgentSide, UpstreamSide
from proxy.front.entrance import Services
from proxy.front.listener import Front
from proxy.generation import build_generation, captures, login_slots, tells_graphql
from proxy.identity.operators import is_revoked
from proxy.manifest import Manifest, Refusals
from proxy.pipeline import Pipeline
from proxy.policy_versions import PolicyVersions
from proxy.receipts.log import ReceiptLog
from proxy.rights import Rights
from proxy.services import (
    authenticators_before,
    credential_services,
    preload,
    resume,
    secret_stores,
    shared_database,
)
from proxy.settings import boot_id
from proxy.sidecar import Parts, Sidecar
from proxy.weighing import Weigher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from sqlalchemy import Engine

    from proxy.secretstore import SecretStores


__all__ = ["Parts", "Sidecar", "running"]

TOKEN_CALL_S: Final = 10.0


@contextlib.asynccontextmanager
async def running(parts: Parts) -> AsyncIterator[Sidecar]:
    """A sidecar that listens; at the end it drains. Raises `BriefcaseError` when it cannot start."""
    require_confined(parts.configuration.settings, now_ms=parts.clock.wall_ms())
    async with contextlib.AsyncExitStack() as stack:
        database = open_database(parts.home / DATABASE)
        stack.callback(database.dispose)
        started: list[Sidecar] = []

        def listening() -> frozenset[tuple[str, int]]:
            return started[0].listeners() if started else frozenset()

        stores = parts.stores or _secret_stores(parts, listening, stack)
        spawn = await stack.enter_async_context(_background())  # ends before the stores do: it may still ask them
        receipts = ReceiptLog.open(
            database=database, home=parts.home, label=parts.label, clock=parts.clock, resume=parts.resume
        )
        stack.push_async_callback(receipts.close)
        await self_test(parts.configuration.settings.limits)
        enforcing, parts = await _enforcing(parts, database, receipts)
        settings = parts.configuration.settings
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
        deciding = await control_services(
            settings,
            database=shared,
            receipts=receipts,
            seal=credentials.seal,
            stores=stores,
            dialler=dialler,
            clock=parts.clock,
            boot=boot_id(),
            revoked=partial(is_revoked, database),
        )
        stack.push_async_callback(deciding.close)
        credentials.keeper.load(partial(login_slots, parts.configuration.profiles))
        generation = replace(generation, stand_ins=generation.stand_ins.plus(credentials.keeper.stand_ins()))
        credentials.memory.replace_stand_ins(generation.stand_ins)
        await preload(credentials.memory, generation.accounts, parts.configuration)
        authenticator = authenticators_before(
            parts.authenticator, credentials.seal, lambda: sidecar.directory, locks=deciding.locks, clock=parts.clock
        )
        watch = ClockWatch(parts.clock)
        pipeline = Pipeline(
            generation=generation,
            broker=credentials.broker,
            memory=credentials.memory,
            receipts=receipts,
            clock=parts.clock,
            rights=Rights(authenticator, deciding.locks, parts.clock, lambda: pipeline.generation),
            keeper=credentials.keeper,
            approvals=deciding.people.approvals,
            weigher=Weigher(history=deciding.history, classifier=deciding.classifier, clock=parts.clock, watch=watch),
            holds=Holds(deciding.budgets, parts.clock),
            manifest=Manifest(
                approvals=deciding.people.approvals.store,
                refusals=Refusals(),
                clock=parts.clock,
                roots=parts.authority.bundle_pem,
            ),
        )
        tunnel = Tunnel(AgentSide(parts.authority), UpstreamSide())
        lane = MitmproxyLane(
            addons=(Gate(pipeline), Firewall(pipeline), Ledger(pipeline), tunnel),
            dialler=dialler,
            limits=settings.limits,
        )
        front = Front(Services(pipeline, authenticator, lane, dialler, settings.limits))
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
        api = open_api(
            settings.listeners,
            ApiServices(
                database=database,
                shared=shared,
                home=parts.home,
                clock=parts.clock,
                receipts=receipts,
                approvals=deciding.people.approvals,
                approvers=deciding.people.approvers,
                registrar=deciding.people.registrar,
                slack=deciding.people.slack,
                agents=parts.agents,
                generation=lambda: pipeline.generation,
                http=HttpClient(dialler=dialler, timeout_s=TOKEN_CALL_S),
                enforcing=enforcing,
                roll_back=lambda wish: sidecar.roll_back(wish),  # noqa: PLW0108
            ),
        )
        if api is not None:
            stack.push_async_callback(api.close)
        sidecar = Sidecar(
            parts=parts,
            pipeline=pipeline,
            memory=credentials.memory,
            keeper=credentials.keeper,
            broker=credentials.broker,
            people=deciding.people,
            receipts=receipts,
            lane=lane,
            front=front,
            control=control,
            api=api,
            enforcing=enforcing,
            watch=watch,
        )
        started.append(sidecar)
        stack.push_async_callback(sidecar.drain)
        await resume(credentials.broker, generation.accounts)
        learning = credentials.keeper.watch(lambda: captures(pipeline.generation.catalog))
        for work in (credentials.broker.watch(), learning, sidecar.watch_rights(), front.watch(), *deciding.work()):
            stack.callback(spawn(work).cancel)
        if tells_graphql(generation.catalog):
            stack.callback(spawn(_load_graphql()).cancel)
        await sidecar.start()
        yield sidecar


def _secret_stores(
    parts: Parts, listening: Callable[[], frozenset[tuple[str, int]]], stack: contextlib.AsyncExitStack
) -> SecretStores:
    """Those of the settings; the `stack` closes them."""
    stores = secret_stores(
        parts.configuration.settings,
        home=parts.home,
        environment=parts.environment,
        clock=parts.clock,
        passphrase=parts.passphrase,
        hosts=parts.hosts,
        own_listeners=listening,
    )
    stack.push_async_callback(stores.close)
    return stores


async def _enforcing(parts: Parts, database: Engine, receipts: ReceiptLog) -> tuple[Enforcing | None, Parts]:
    """What keeps the policies in force, where somebody stands for them, and `parts` with what is in force."""
    if parts.author is None:
        return None, parts
    enforcing = Enforcing(PolicyVersions(database, parts.clock), receipts, parts.clock, parts.author)
    configuration = await enforcing.begin(parts.configuration, tuple(parts.agents()))
    if enforcing.waiting is not None:
        require_confined(configuration.settings, now_ms=parts.clock.wall_ms())
        if parts.redirect is not None:
            parts.redirect(configuration.settings)
    return enforcing, replace(parts, configuration=configuration)


async def _load_graphql() -> None:
    """Load what parses GraphQL before the first such call: that takes half a second, which nobody should wait for."""
    await in_thread(importlib.import_module, "proxy.catalog.validation.selections")


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
