"""Services that the composition root puts together: secret stores, and the broker with all it works with."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from proxy.capturing import Keeper
from proxy.credentials.bindings import Bindings
from proxy.credentials.broker import Broker
from proxy.credentials.caller import Caller
from proxy.credentials.captures.store import SCHEME, CapturedSecrets
from proxy.credentials.grants import Grants
from proxy.credentials.memory import Memory
from proxy.credentials.standin import StandIns
from proxy.db.sealing import Seal
from proxy.egress.dial import Dialler
from proxy.egress.http import HttpClient
from proxy.egress.resolver import Resolver
from proxy.errors import BriefcaseError
from proxy.firewall import Needle, Vocabulary
from proxy.identity.connections import ConnectionAuthenticator
from proxy.identity.task_tokens import public_key
from proxy.identity.tasks import TaskAuthenticator
from proxy.keys.backends import backends
from proxy.keys.ring import KeyRing
from proxy.keys.tls import TlsIdentity
from proxy.lent import lasting_orders
from proxy.model import Mode
from proxy.secretstore import ASKED, ASKED_HERE, SecretStores
from proxy.secretstore.env import EnvStore
from proxy.secretstore.exec import ExecStore
from proxy.secretstore.file import FileStore
from proxy.secretstore.k8s import MountedStore
from proxy.secretstore.kept import Keeping, Kept
from proxy.secretstore.local import LocalStore
from proxy.secretstore.store import Means

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from pathlib import Path

    from sqlalchemy import Engine

    from proxy.catalog.binding import BoundAccount
    from proxy.catalog.configuration import Configuration
    from proxy.clock import Clock
    from proxy.credentials.caller import Routes
    from proxy.identity.directory import Directory
    from proxy.identity.locks import Lock, Locks
    from proxy.identity.registry import Authenticator
    from proxy.receipts.log import ReceiptLog
    from proxy.secret import Secret
    from proxy.secretstore.store import AskedStore
    from proxy.settings import Keys, Settings, State
    from proxy.store_settings import Keeping as KeepingSettings

_log: Final = logging.getLogger("proxy.app")
SEAL_KEY: Final = "seal.key"
"""The key file, in the state directory, of what rests sealed in the database."""


TASK_TOKENS: Final = "task tokens"
"""What the key that signs them is derived for, from the key that seals the database."""


@dataclass(frozen=True, slots=True)
class CredentialServices:
    """What credentials are obtained and kept with."""

    broker: Broker
    memory: Memory[Vocabulary]
    keys: KeyRing
    grants: Grants
    caller: Caller
    bindings: Bindings
    keeper: Keeper
    seal: Seal


async def shared_database(settings: State, own: Engine, stores: SecretStores) -> Engine:
    """Where grants and keys rest: the database that sidecars share, or our `own`.

    Raises:
        BriefcaseError: it cannot be opened, or its password cannot be read.
    """
    shared = settings.shared
    if shared is None:
        return own
    from proxy.db.shared import open_shared  # noqa: PLC0415  # its driver is optional, and takes a while to load

    password = None if shared.password is None else await stores.get(shared.password, at_least=1)
    return await asyncio.to_thread(open_shared, shared, password)


async def credential_services(
    settings: State,
    *,
    key_settings: Keys,
    home: Path,
    database: Engine,
    stores: SecretStores,
    clock: Clock,
    http: HttpClient,
    routes: Callable[[], Routes],
    spawn: Callable[[Coroutine[None, None, None]], object],
    asks_consent: bool = True,
) -> CredentialServices:
    """The broker, and everything it works with.

    Raises:
        BriefcaseError: the key that seals the database cannot be read.
    """
    keys, seal = await key_ring(
        settings, key_settings=key_settings, home=home, database=database, stores=stores, clock=clock, http=http
    )
    memory = Memory(stores=stores, stand_ins=StandIns(()), compile_vocabulary=_vocabulary)
    grants = Grants(database, seal, clock)
    bindings = Bindings(database, key=seal.derived("secret fingerprints"), clock=clock, asks=asks_consent)
    caller = Caller(http=http, routes=routes, identify=TlsIdentity)
    captured = CapturedSecrets(database, seal, clock)
    broker = Broker(
        stores=SecretStores({**stores.by_scheme, SCHEME: captured}, stores.asked),
        keys=keys,
        grants=grants,
        caller=caller,
        clock=clock,
        token_key=seal.derived("token ids"),
        spawn=spawn,
        memory=memory,
        bindings=bindings,
    )
    keeper = Keeper(captured=captured, grants=grants, memory=memory, broker=broker, clock=clock)
    return CredentialServices(broker, memory, keys, grants, caller, bindings, keeper, seal)


async def key_ring(
    settings: State,
    *,
    key_settings: Keys,
    home: Path,
    database: Engine,
    stores: SecretStores,
    clock: Clock,
    http: HttpClient,
) -> tuple[KeyRing, Seal]:
    """Every key, wherever it rests, and what seals the database. Raises `BriefcaseError`: its key cannot be read."""
    seal = await seal_of(settings, home=home, stores=stores)
    elsewhere = backends(key_settings, stores=stores, http=http, clock=clock)
    return KeyRing(database=database, seal=seal, stores=stores, backends=elsewhere, clock=clock), seal


async def seal_of(settings: State, *, home: Path, stores: SecretStores) -> Seal:
    """What seals the database. Raises `BriefcaseError`: its key cannot be read."""
    if settings.seal_key is None:
        return Seal(persistent_key(home / SEAL_KEY))
    return Seal((await stores.get(settings.seal_key, at_least=16)).reveal())


def secret_stores(
    settings: Settings,
    *,
    home: Path,
    environment: Mapping[str, str],
    clock: Clock,
    passphrase: Secret | None,
    hosts: Mapping[str, tuple[str, ...]] | None = None,
    own_listeners: Callable[[], frozenset[tuple[str, int]]] = frozenset,
) -> SecretStores:
    """Every secret store there is: those at hand, and on top of them those that are asked over the network.

    The latter have a way out of their own, whose upstream proxy gets its credentials from the former alone.
    """
    own = settings.secret_stores
    at_hand = SecretStores(
        {
            "env": EnvStore(environment),
            "file": FileStore(),
            "exec": ExecStore(clock=clock, ttl_s=own.exec_ttl_s, timeout_s=own.exec_timeout_s, environment=environment),
            "local": LocalStore(home, passphrase),
            "k8s": MountedStore(own.k8s.directory),
        }
    )
    connect_timeout_s = settings.egress.connect_timeout_s
    dialler = Dialler(
        resolver=Resolver(clock=clock, timeout_s=connect_timeout_s, hosts=hosts),
        connect_timeout_s=connect_timeout_s,
        own_listeners=own_listeners,
        read_secret=partial(at_hand.get, at_least=1),
    )
    http = HttpClient(dialler=dialler, timeout_s=own.timeout_s)
    means = Means(http=http, clock=clock, read=partial(at_hand.get, at_least=1), environment=environment)
    here = SecretStores(at_hand.by_scheme, _asked(ASKED_HERE, settings, means))
    means = replace(means, read=partial(here.get, at_least=1))
    return SecretStores(here.by_scheme, {**here.asked, **_asked(ASKED, settings, means)})


def _asked(kinds: Mapping[str, type[AskedStore]], settings: Settings, means: Means) -> dict[str, Kept]:
    made = ((scheme, kind.made(settings, means)) for scheme, kind in kinds.items())
    return {
        scheme: Kept(store, clock=means.clock, keeping=_keeping(settings, scheme))
        for scheme, store in made
        if store is not None
    }


def _keeping(settings: Settings, scheme: str) -> Keeping:
    described: KeepingSettings = getattr(settings.secret_stores, scheme)
    return Keeping(described.ttl_s, settings.secret_stores.failed_s, described.stale_s)


def authenticators_before(
    behind: Authenticator, seal: Seal, directory: Callable[[], Directory], *, locks: Locks, clock: Clock
) -> ConnectionAuthenticator:
    """What judges connections and tokens for one task, and leaves everything else to `behind`."""
    key = public_key(seal.derived(TASK_TOKENS))
    tasks = TaskAuthenticator(behind, key=key, directory=directory, locks=locks, clock=clock)
    return ConnectionAuthenticator(tasks, directory=directory, clock=clock)


def note_locks(receipts: ReceiptLog, added: list[Lock], lifted: list[Lock]) -> None:
    """Say in the receipts what the operator stops, or lets go on (a lock that stands at a start is said again)."""
    for note, locks in (("locked", added), ("unlocked", lifted)):
        for one in locks:
            _log.warning("%s: %s %s", note, one.kind, one.name)
            told: dict[str, str | int] = {
                "locked": one.kind,
                "name": one.name,
                "reason": one.reason,
                "by": one.by,
                "since_ms": one.at_ms,
            }
            receipts.record_note({"note": note, **told})


async def preload(
    memory: Memory[Vocabulary], accounts: Mapping[str, Iterable[BoundAccount]], configuration: Configuration
) -> None:
    """Read every secret once, so that answers are searched for it from the first. In `ga` all must be readable.

    Raises:
        BriefcaseError: a secret is missing, in mode `ga`.
    """
    failures = []
    for group in accounts.values():
        for account in group:
            failures += await memory.preload(account.id, account.account.secrets)
    for failure in failures:
        _log.warning("%s", failure)
    if failures and configuration.settings.mode is Mode.GA:
        raise BriefcaseError("mode ga needs every secret:\n" + "\n".join(failures))


async def resume(broker: Broker, accounts: Mapping[str, Iterable[BoundAccount]]) -> None:
    """Go on where an earlier process died while it minted; what is kept for accounts is searched for from now on."""
    for group in accounts.values():
        for order in lasting_orders(group):
            await broker.resume(order)


def persistent_key(path: Path) -> bytes:
    """32 random bytes that rest in `path`, made on first use, readable by their owner alone.

    Raises:
        BriefcaseError: unreadable, or not 32 bytes.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
        try:
            os.link(draft, path)
        finally:
            draft.unlink()
    try:
        key = path.read_bytes()
    except OSError as error:
        raise BriefcaseError(f"{path}: {error.strerror}") from None
    if len(key) != 32:  # noqa: PLR2004  # a SHA-256 HMAC key
        raise BriefcaseError(f"{path}: not a key")
    return key


def _vocabulary(pairs: Iterable[tuple[bytes, bytes]]) -> Vocabulary:
    return Vocabulary(Needle(value, stand_in) for value, stand_in in pairs)
