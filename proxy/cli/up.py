"""`briefcased up`: the long-running sidecar."""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from certs.authority import CertificateAuthority
from certs.bundle import merged_bundle, write_bundle
from certs.storage import ca_directory, ca_passphrase
from proxy import logs
from proxy.catalog.configuration import load_configuration
from proxy.catalog.modes import mode_warnings
from proxy.catalog.pinning import open_file_findings, open_files
from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.closed import require_closed
from proxy.cli.state import SidecarState, local_passphrase, write_state
from proxy.clock import SystemClock
from proxy.errors import BriefcaseError, ConfigError
from proxy.notify import Notifier
from proxy.settings import environment, home, service_manager

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.app import Sidecar
    from proxy.catalog.configuration import Configuration
    from proxy.cli.hand_over import HandOvers
    from proxy.clock import Clock
    from proxy.identity.registry import AgentRegistry
    from proxy.identity.workload import WorkloadAuthenticator
    from proxy.secretstore import SecretStores
    from proxy.settings import Settings

_log: Final = logging.getLogger("proxy.up")
BUNDLE: Final = "ca-bundle.pem"
BUNDLE_EVERY_S: Final = 600.0
STAND_IN_KEY: Final = "stand-ins.key"


def up(config: ConfigOption = CONFIG) -> None:
    """Run the sidecar until SIGTERM; SIGHUP or `briefcased reload` puts a changed configuration in force."""
    configuration = load_configuration(config)
    logging_settings = configuration.settings.logs
    logs.configure(level=logging_settings.level.upper(), style=logging_settings.style)
    for warning in _warnings(config, configuration):
        _log.warning("%s", warning)
    require_closed(home(), configuration.settings.mode)
    asyncio.run(_up(config, configuration))


def _warnings(config: Path, configuration: Configuration) -> Iterator[str]:
    """What is allowed in this mode, and would not be in a stricter one."""
    settings = configuration.settings
    yield from (f"{path}: other accounts may write it" for path in open_files(config, settings))
    for place, message in mode_warnings(settings, configuration.profiles):
        yield f"{config}: {'.'.join(map(str, place))}: {message}"
    if settings.policies.observe:
        yield "policies are only observed: what they would refuse or have approved goes through"


async def _up(path: Path, configuration: Configuration) -> None:
    from proxy.services import secret_stores

    state, clock = home(), SystemClock()
    started: list[Sidecar] = []
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    stores = secret_stores(
        configuration.settings,
        home=state,
        environment=environment(),
        clock=clock,
        passphrase=local_passphrase(),
        own_listeners=lambda: started[0].listeners() if started else frozenset(),
    )
    try:
        await _run(path, configuration, stores, started, clock)
    finally:
        await stores.close()


async def _run(
    path: Path, configuration: Configuration, stores: SecretStores, started: list[Sidecar], clock: Clock
) -> None:
    from proxy.app import Parts, running
    from proxy.cli.hand_over import HandOvers
    from proxy.cli.workloads import workload_authenticator
    from proxy.db.engine import DATABASE, open_database
    from proxy.identity.directory import Directory
    from proxy.identity.registry import AgentRegistry
    from proxy.services import persistent_key

    state, variables = home(), environment()
    authority = await certificate_authority(configuration, state, clock, stores)
    database = open_database(state / DATABASE)
    hand_overs = HandOvers(database, home=state, clock=clock, environment=variables)
    planned = hand_overs.plan(configuration)  # registers agents, so it comes before they are read
    registry = AgentRegistry(database, clock=clock, directory=Directory.of(configuration.settings))
    workloads = workload_authenticator(configuration.settings, registry, database, stores=stores, clock=clock)
    parts = Parts(
        home=state,
        label="up",
        configuration=configuration,
        agents=registry.agents,
        described=registry.agents,
        authenticator=workloads,
        authority=authority,
        stand_in_key=persistent_key(state / STAND_IN_KEY),
        environment=variables,
        clock=clock,
        passphrase=local_passphrase(),
        resume=True,
        author=operating_user(),
        stores=stores,
        redirect=partial(_redirect, path, registry, workloads, stores, clock),
    )
    notifier = Notifier(*service_manager())
    stop, changed = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, changed.set)
    async with running(parts) as sidecar, asyncio.TaskGroup() as group:
        started.append(sidecar)
        _write_bundle(sidecar)
        if sidecar.waiting is not None:
            planned = hand_overs.plan(sidecar.configuration)  # to where it was, not to where it would be
        hand_overs.carry_out(planned, sidecar.configuration, sidecar)
        _announce(sidecar, None)
        _log.info("agents connect to %s; trust bundle %s", ", ".join(sidecar.endpoints), state / BUNDLE)
        _log.info("control listener on %s:%d", *sidecar.control)
        watch = group.create_task(sidecar.watch_agents())
        keys = group.create_task(workloads.watch())
        confirmed = group.create_task(_reload_once_confirmed(sidecar, changed))
        reload = group.create_task(_reload_on(changed, path, sidecar, (registry, workloads), hand_overs, notifier))
        bundle = group.create_task(_keep_bundle(sidecar, hand_overs))
        alive = group.create_task(notifier.stay_alive())
        notifier.ready(_in_force(sidecar))
        await stop.wait()
        notifier.stopping()
        _log.info("draining")
        alive.cancel()
        bundle.cancel()
        watch.cancel()
        keys.cancel()
        confirmed.cancel()
        reload.cancel()
    database.dispose()
    (state / "sidecar.json").unlink(missing_ok=True)


def _redirect(
    path: Path,
    registry: AgentRegistry,
    workloads: WorkloadAuthenticator,
    stores: SecretStores,
    clock: Clock,
    settings: Settings,
) -> None:
    """Check and make ready for `settings`, in force, what was checked and made ready for those that wait."""
    from proxy.cli.workloads import token_issuers
    from proxy.identity.directory import Directory

    require_closed(home(), settings.mode)
    if findings := list(open_file_findings(path, settings)):
        raise ConfigError(findings)
    workloads.reissue(token_issuers(settings, stores=stores, clock=clock))
    for one in (registry, workloads):
        one.redirect(Directory.of(settings))


async def _reload_on(
    changed: asyncio.Event,
    path: Path,
    sidecar: Sidecar,
    registries: tuple[AgentRegistry | WorkloadAuthenticator, ...],
    hand_overs: HandOvers,
    notifier: Notifier,
) -> None:
    from proxy.identity.directory import Directory
    from proxy.policy_change import WaitingError

    while True:
        await changed.wait()
        changed.clear()
        notifier.reloading()
        sidecar.reloads += 1
        try:
            configuration = load_configuration(path)
            planned = hand_overs.plan(configuration)
            await sidecar.reload(configuration)
            for registry in registries:
                registry.redirect(Directory.of(configuration.settings))
            hand_overs.carry_out(planned, configuration, sidecar)
        except ConfigError as error:
            _log.error("the old configuration stays:\n%s", error)  # the text is the whole message
            await sidecar.rejected(len(error.findings))
            _announce(sidecar, str(error))
        except BriefcaseError as error:
            _log.error("%s", error)
            if not isinstance(error, WaitingError):  # which is on record already
                await sidecar.rejected(1)
            _announce(sidecar, str(error))
        else:
            _write_bundle(sidecar)
            _announce(sidecar, None)
        notifier.ready(_in_force(sidecar))


async def _reload_once_confirmed(sidecar: Sidecar, changed: asyncio.Event) -> None:
    """What waited is put in force by a reload of its own."""
    while True:
        await sidecar.confirmation()
        changed.set()


def operating_user() -> str:
    """The name of the account that we run as, else its number."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _in_force(sidecar: Sidecar) -> str:
    return f"configuration {sidecar.generation} is in force"


async def _keep_bundle(sidecar: Sidecar, hand_overs: HandOvers) -> None:
    """Roots come and go while a rotation overlaps: the file that agents trust follows."""
    while True:
        await asyncio.sleep(BUNDLE_EVERY_S)
        _write_bundle(sidecar)
        hand_overs.refresh(sidecar)


def _write_bundle(sidecar: Sidecar) -> None:
    write_bundle(home() / BUNDLE, merged_bundle(sidecar.bundle_pem(), environment=environment()))


def _announce(sidecar: Sidecar, error: str | None) -> None:
    write_state(
        home(),
        SidecarState(
            pid=os.getpid(),
            proxy=sidecar.endpoints[0],
            more=sidecar.endpoints[1:],
            control=f"{sidecar.control[0]}:{sidecar.control[1]}",
            admin=sidecar.admin,
            generation=sidecar.generation,
            reloads=sidecar.reloads,
            error=error,
        ),
    )


async def certificate_authority(
    configuration: Configuration, state: Path, clock: Clock, stores: SecretStores
) -> CertificateAuthority:
    """The operator's issuing CA where the configuration names one, else our own, at rest in the state directory.

    Raises:
        BriefcaseError: it cannot be read or used.
    """
    own = configuration.settings.certificates
    if own.issuer_certificate is not None and own.issuer_key is not None:
        key = await stores.get(own.issuer_key)
        try:
            chain = own.issuer_certificate.read_bytes()
        except OSError as error:
            raise BriefcaseError(f"{own.issuer_certificate}: {error.strerror}") from None
        return CertificateAuthority.from_issuer(chain, key.reveal(), clock=clock)
    directory = ca_directory(state)
    passphrase = ca_passphrase(directory, environment=environment())
    return CertificateAuthority.load_or_create(directory, patterns=(), passphrase=passphrase, clock=clock)
