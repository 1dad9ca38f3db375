"""A sidecar with the control API on TCP and on a unix socket, and operators of every role."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest
import pytest_asyncio

from proxy.clock import SystemClock
from proxy.db.engine import DATABASE, open_database
from proxy.db.shared import open_shared
from proxy.identity.operators import add_operator
from proxy.model import Role
from proxy.secret import Secret
from proxy.settings import SharedDatabase
from tests.control.conftest import controlled
from tests.rig.postgres import PASSWORD, USER, postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from tests.rig import Rig
    from tests.rig.postgres import Postgres

FOREIGN = "elsewhere"
APPROVALS = {"hold_s": 0, "max_pending_per_agent": 100}


@dataclass
class Api:
    """`tokens` by role; `foreign` is an admin of another tenant. `shared` is where sidecars share their state.

    `source` is the address that calls come from: failed attempts are counted by it.
    """

    rig: Rig
    socket: Path
    database: Engine
    shared: Engine
    tokens: dict[str, str] = field(default_factory=dict)
    source: str | None = None

    def elsewhere(self) -> None:
        """From now on calls come from another address, where nobody has failed yet."""
        if sys.platform == "linux":  # which has all of 127.0.0.0/8
            number = next(_addresses)
            self.source = f"127.1.{number >> 8}.{number & 255}"

    async def awake(self) -> None:
        """Wait until what is locked was read anew."""
        async with asyncio.timeout(10):
            while self.rig.sidecar.pipeline.rights._locks.stale:
                await asyncio.sleep(0.01)

    @property
    def base(self) -> str:
        assert self.rig.sidecar.api is not None
        host, port = self.rig.sidecar.api
        return f"http://{host}:{port}"

    def client(self, who: str | None, **headers: str) -> httpx.AsyncClient:
        """By TCP, with the token of `who`: a role, `foreign`, or nobody."""
        own = {"Authorization": f"Bearer {self.tokens[who]}"} if who is not None else {}
        way = httpx.AsyncHTTPTransport(local_address=self.source, verify=False)
        return httpx.AsyncClient(
            base_url=self.base, headers={**own, **headers}, transport=way, trust_env=False, timeout=20
        )

    def local(self, **headers: str) -> httpx.AsyncClient:
        """By the unix socket."""
        way = httpx.AsyncHTTPTransport(uds=str(self.socket), verify=False)
        return httpx.AsyncClient(
            base_url="http://localhost", headers=headers, transport=way, timeout=20, trust_env=False
        )

    async def call(self, who: str | None, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        more = (
            {"content": orjson.dumps(body), "headers": {"Content-Type": "application/json"}} if body is not None else {}
        )
        async with self.client(who, **headers) as client:
            return await client.request(method, f"/api/v1{path}", **more)

    async def changes(self) -> list[dict[str, Any]]:
        """What receipts say that operators did, the newest first."""
        answer = await self.call("admin", "GET", "/changes?limit=1000")
        changes: list[dict[str, Any]] = answer.json()["changes"]
        return changes

    async def pending(self, path: str = "/issues", body: bytes = b'{"title":"one"}', agent: str = "tester") -> str:
        """The id of an approval that a call of an agent has asked for."""
        asked = await self.rig.call("POST", path, content=body, agent=agent)
        assert asked.problem == "approval_required", asked.body
        return str(asked.json()["approval_id"])


_addresses = itertools.count(1)


@asynccontextmanager
async def administered(folder: Path, server: Postgres | None = None, **settings: Any) -> AsyncIterator[Api]:
    """A sidecar with the API; what sidecars share rests in `server`, where there is one."""
    socket = folder / "admin.sock"
    listeners = {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0", "api": "127.0.0.1:0", "admin": f"unix:{socket}"}
    own = f"api_{secrets.token_hex(4)}"
    state = {} if server is None else {"state": _shared(folder, server, own)}
    async with controlled(folder, listeners=listeners, **{"approvals": APPROVALS, **state, **settings}) as rig:
        database = open_database(rig.home / DATABASE)
        shared = database if server is None else _opened(server, own)
        api = Api(rig, socket, database, shared)
        for role in Role:
            api.tokens[role.value] = add_operator(database, role.value, role, clock=SystemClock()).token
        foreign = add_operator(database, "foreign", Role.ADMIN, clock=SystemClock(), tenant=FOREIGN)
        api.tokens["foreign"] = foreign.token
        try:
            yield api
        finally:
            database.dispose()
            shared.dispose()


def _shared(folder: Path, server: Postgres, name: str) -> dict[str, Any]:
    """The block `state`, with a database of its own."""
    import psycopg

    where = {"host": "localhost", "port": server.port, "user": USER, "password": PASSWORD, "dbname": "postgres"}
    with psycopg.connect(**where, autocommit=True) as connection:  # type: ignore[arg-type]
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
    (folder / "password").write_text(PASSWORD)
    (folder / "seal").write_text("seal-key-of-the-test-0123456789")
    shared = server.settings(database=name, password=f"file:{folder}/password")
    return {"shared": shared, "seal_key": f"file:{folder}/seal"}


def _opened(server: Postgres, name: str) -> Engine:
    settings = SharedDatabase(host="localhost", port=server.port, ca_bundle=server.ca, database=name)
    return open_shared(settings, Secret("password", PASSWORD.encode()))


BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=BOTH)
async def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    database = request.getfixturevalue("server") if request.param == "postgresql" else None
    async with administered(tmp_path_factory.mktemp("api"), database) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="session")
async def api(kept: Api) -> Api:
    """One for the whole session. While tests with a loop of their own run it stands still, and so do its watches."""
    await kept.awake()
    return kept


@pytest.fixture(autouse=True)
def _own_address(request: pytest.FixtureRequest) -> None:
    """No test is throttled for what another one tried."""
    for name in {"api", "desk"} & set(request.fixturenames):
        request.getfixturevalue(name).elsewhere()


def slug(answer: httpx.Response) -> str:
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
    return str(answer.json()["type"]).removeprefix("urn:briefcased:api:")
