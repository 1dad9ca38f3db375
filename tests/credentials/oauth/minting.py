"""Processes that mint from one database, as several sidecars would; each is a real process that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import TypeAdapter

from proxy.clock import SystemClock
from proxy.credentials import CredentialSpec
from proxy.credentials.bindings import Bindings
from proxy.credentials.broker import Broker
from proxy.credentials.caller import Caller
from proxy.credentials.grants import Grants
from proxy.credentials.memory import Memory
from proxy.credentials.order import Order
from proxy.credentials.standin import StandIns
from proxy.db.engine import open_database
from proxy.db.sealing import Seal
from proxy.db.shared import open_shared
from proxy.egress.dial import Dialler
from proxy.egress.http import HttpClient
from proxy.egress.resolver import Resolver
from proxy.errors import Refused
from proxy.keys.ring import KeyRing
from proxy.keys.tls import TlsIdentity
from proxy.model import AccountId
from proxy.secret import Secret
from proxy.secretstore import SecretStores
from proxy.secretstore.env import EnvStore
from proxy.settings import SharedDatabase
from tests.rig.postgres import PASSWORD

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from sqlalchemy import Engine

HOST = "auth.example.test"


@dataclass(frozen=True)
class Setup:
    """`lease_s`: how long a process that died holds the others up. `shared`: `state.shared`, in place of a file."""

    folder: str
    root: str
    fields: dict[str, Any]
    environment: dict[str, str]
    lease_s: float = 15.0
    shared: dict[str, Any] | None = None


class ShiftedClock(SystemClock):
    """`offset_ms` later than it is."""

    offset_ms = 0

    def wall_ms(self) -> int:
        return super().wall_ms() + self.offset_ms


class Routes:
    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def trust(self, _provider: str) -> Path:
        return self.root

    def via(self, _provider: str, _authority: object) -> None:
        return None

    def private(self, _host: str) -> tuple[str, ...]:
        return ("127.0.0.1/32",)


class Process:
    """One of them, seen from the test."""

    def __init__(self, setup: Setup) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self.pipe, other = context.Pipe()
        self.process: BaseProcess = context.Process(target=_main, args=(setup, other), daemon=True)
        self.process.start()
        other.close()

    async def ask(self, *words: object) -> Any:
        """`("mint", callers, offset_s)`: what each caller got. `("loop",)`: begin to refresh for ever."""
        self.pipe.send(words)
        return await self.told()

    async def told(self) -> Any:
        return await asyncio.to_thread(self.pipe.recv)

    def rest(self) -> list[Any]:
        """What it told and nobody has read, once it is dead."""
        found = []
        with contextlib.suppress(EOFError, OSError):
            while True:
                found.append(self.pipe.recv())
        return found

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def _main(setup: Setup, pipe: Connection) -> None:
    asyncio.run(_serve(setup, pipe))


async def _serve(setup: Setup, pipe: Connection) -> None:
    clock, order = ShiftedClock(), order_of(setup)
    async with asyncio.TaskGroup() as tasks:
        broker = broker_of(setup, clock, tasks)

        async def one() -> str:
            try:
                credential = await broker.mint(order)
            except Refused as refused:
                return refused.denial.slug
            return credential.text("access_token")

        while True:
            word, *rest = await asyncio.to_thread(pipe.recv)
            if word == "end":
                return
            if word == "mint":
                clock.offset_ms = rest[1] * 1000
                pipe.send(await asyncio.gather(*(one() for _ in range(rest[0]))))
                continue
            await broker.resume(order)
            while word == "loop":
                pipe.send(await one())
                credential = await broker.mint(order)
                broker.discard(order, credential)


def order_of(setup: Setup) -> Order:
    kind = TypeAdapter(CredentialSpec).validate_json(orjson.dumps({"kind": "oauth", **setup.fields}))
    refs = {name: f"env:{name}" for name in setup.environment}
    return Order(AccountId("api", "main"), "token", kind, refs, variables={"client_id": "client one"})


def database_of(setup: Setup) -> Engine:
    if setup.shared is None:
        return open_database(Path(setup.folder) / "briefcased.db")
    return open_shared(SharedDatabase.model_validate(setup.shared), Secret("pg", PASSWORD))


def broker_of(
    setup: Setup, clock: SystemClock, tasks: asyncio.TaskGroup, *, kind_of_grants: type[Grants] = Grants
) -> Broker:
    database, seal = database_of(setup), Seal(b"k" * 32)
    stores = SecretStores({"env": EnvStore(setup.environment)})
    grants = kind_of_grants(database, seal, clock, lease_s=setup.lease_s)
    resolver = Resolver(clock=clock, timeout_s=5, hosts={HOST: ("127.0.0.1",)})
    dialler = Dialler(
        resolver=resolver, connect_timeout_s=5, own_listeners=frozenset, read_secret=lambda _ref: stores.get("env:none")
    )
    http = HttpClient(dialler=dialler, timeout_s=10)
    return Broker(
        stores=stores,
        keys=KeyRing(database=database, seal=seal, stores=stores, backends={}, clock=clock),
        grants=grants,
        caller=Caller(http=http, routes=lambda: Routes(setup.root), identify=TlsIdentity),
        clock=clock,
        token_key=b"t" * 32,
        spawn=tasks.create_task,
        memory=Memory(stores=stores, stand_ins=StandIns(()), compile_vocabulary=dict),
        bindings=Bindings(database, key=b"b" * 32, clock=clock, asks=True),
    )
