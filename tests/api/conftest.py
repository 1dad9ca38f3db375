"""A sidecar with the control API on TCP and on a unix socket, and operators of every role."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest
import pytest_asyncio

from proxy.clock import SystemClock
from proxy.db.engine import DATABASE, open_database
from proxy.identity.operators import add_operator
from proxy.model import Role
from tests.control.conftest import controlled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import Engine

    from tests.rig import Rig

FOREIGN = "elsewhere"
APPROVALS = {"hold_s": 0, "max_pending_per_agent": 100}


@dataclass
class Api:
    """`tokens` by role; `foreign` is an admin of another tenant."""

    rig: Rig
    socket: Path
    database: Engine
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        assert self.rig.sidecar.api is not None
        host, port = self.rig.sidecar.api
        return f"http://{host}:{port}"

    def client(self, who: str | None, **headers: str) -> httpx.AsyncClient:
        """By TCP, with the token of `who`: a role, `foreign`, or nobody."""
        own = {"Authorization": f"Bearer {self.tokens[who]}"} if who is not None else {}
        return httpx.AsyncClient(
            base_url=self.base, headers={**own, **headers}, trust_env=False, timeout=20, verify=False
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


@asynccontextmanager
async def administered(folder: Path, **settings: Any) -> AsyncIterator[Api]:
    socket = folder / "admin.sock"
    listeners = {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0", "api": "127.0.0.1:0", "admin": f"unix:{socket}"}
    async with controlled(folder, listeners=listeners, **{"approvals": APPROVALS, **settings}) as rig:
        database = open_database(rig.home / DATABASE)
        api = Api(rig, socket, database)
        for role in Role:
            api.tokens[role.value] = add_operator(database, role.value, role, clock=SystemClock()).token
        foreign = add_operator(database, "foreign", Role.ADMIN, clock=SystemClock(), tenant=FOREIGN)
        api.tokens["foreign"] = foreign.token
        try:
            yield api
        finally:
            database.dispose()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with administered(tmp_path_factory.mktemp("api")) as api:
        yield api


def slug(answer: httpx.Response) -> str:
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
    return str(answer.json()["type"]).removeprefix("urn:briefcased:api:")
