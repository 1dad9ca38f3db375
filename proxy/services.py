"""Services that the composition root puts together: secret stores, and the broker with all it works with."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.credentials.broker import Broker
from proxy.credentials.caller import Caller
from proxy.credentials.grants import Grants
from proxy.credentials.memory import Memory
from proxy.credentials.standin import StandIns
from proxy.db.sealing import Seal
from proxy.errors import BriefcaseError
from proxy.firewall import Needle, Vocabulary
from proxy.keys.backends import backends
from proxy.keys.ring import KeyRing
from proxy.keys.tls import TlsIdentity
from proxy.lent import lasting_orders
from proxy.model import Mode
from proxy.secretstore import SecretStores
from proxy.secretstore.env import EnvStore
from proxy.secretstore.exec import ExecStore
from proxy.secretstore.file import FileStore
from proxy.secretstore.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from pathlib import Path

    from sqlalchemy import Engine

    from proxy.catalog.binding import BoundAccount
    from proxy.catalog.configuration import Configuration
    from proxy.clock import Clock
    from proxy.credentials.caller import Routes
    from proxy.egress.http import HttpClient
    from proxy.secret import Secret
    from proxy.settings import Keys, SecretStoreSettings, State

_log: Final = logging.getLogger("proxy.app")
SEAL_KEY: Final = "seal.key"
"""The key file, in the state directory, of what rests sealed in the database."""


@dataclass(frozen=True, slots=True)
class CredentialServices:
    """What credentials are obtained and kept with."""

    broker: Broker
    memory: Memory[Vocabulary]
    keys: KeyRing
    grants: Grants
    caller: Caller


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
    caller = Caller(http=http, routes=routes, identify=TlsIdentity)
    broker = Broker(
        stores=stores,
        keys=keys,
        grants=grants,
        caller=caller,
        clock=clock,
        token_key=seal.derived("token ids"),
        spawn=spawn,
        memory=memory,
    )
    return CredentialServices(broker, memory, keys, grants, caller)


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
    if settings.seal_key is None:
        key = persistent_key(home / SEAL_KEY)
    else:
        key = (await stores.get(settings.seal_key, at_least=16)).reveal()
    seal = Seal(key)
    elsewhere = backends(key_settings, stores=stores, http=http, clock=clock)
    return KeyRing(database=database, seal=seal, stores=stores, backends=elsewhere, clock=clock), seal


def secret_stores(
    settings: SecretStoreSettings,
    *,
    home: Path,
    environment: Mapping[str, str],
    clock: Clock,
    passphrase: Secret | None,
) -> SecretStores:
    """Every secret store there is."""
    return SecretStores(
        {
            "env": EnvStore(environment),
            "file": FileStore(),
            "exec": ExecStore(
                clock=clock,
                ttl_s=settings.exec_ttl_s,
                timeout_s=settings.exec_timeout_s,
                environment=environment,
            ),
            "local": LocalStore(home, passphrase),
        }
    )


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
