"""Two tenants with secrets of their own, in one sidecar."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from proxy.db.sealing import Seal
from proxy.identity import task_tokens
from proxy.identity.task_limits import TaskLimits
from proxy.services import SEAL_KEY, TASK_TOKENS
from tests.rig import running_rig
from tests.rig.sidecar import OTHER_KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.rig import Rig

RED, GOLD, BLUE = "sk-red-CANARY-0123456789abcdef", "sk-gold-CANARY-0123456789abcde", "sk-blue-CANARY-0123456789abcde"
SECRETS = {"RED_KEY": RED, "GOLD_KEY": GOLD, "BLUE_KEY": BLUE}
ACME = (RED, GOLD, OTHER_KEY)


def account(ref: str, tenant: str, **more: Any) -> dict[str, Any]:
    return {"secrets": {"api_key": f"env:{ref}"}, "tenant": tenant, **more}


TENANTS: dict[str, Any] = {
    "tenants": ["acme", "globex"],
    "users": {
        "alice": {"tenant": "acme", "accounts": ["example/red"]},
        "anna": {"tenant": "acme", "accounts": []},
        "bob": {"tenant": "globex", "accounts": ["*"]},
    },
    "agents": {
        "coder": {"tenant": "acme", "accounts": ["*"], "users": ["alice", "anna"]},
        "helper": {"tenant": "acme", "accounts": ["example/red"]},
        "rival": {"tenant": "globex", "accounts": ["*"], "users": ["bob"]},
    },
    "providers": {
        "example": {
            "accounts": {
                "red": account("RED_KEY", "acme"),
                "gold": account("GOLD_KEY", "acme", default=True),
                "blue": account("BLUE_KEY", "globex"),
            }
        },
        "other": {"accounts": {"main": {"secrets": {"token": "env:OTHER_TOKEN"}, "tenant": "acme"}}},
    },
}


@asynccontextmanager
async def tenancy(folder: Path, **settings: Any) -> AsyncIterator[Rig]:
    async with running_rig(folder, settings={**TENANTS, **settings}, environment=SECRETS) as rig:
        yield rig


def seed(rig: Rig) -> bytes:
    """What signs task tokens there."""
    return Seal((rig.home / SEAL_KEY).read_bytes()).derived(TASK_TOKENS)


def task_token(
    rig: Rig, agent: str = "coder", *, ttl_s: float = 600, user: str | None = None, task: str = "t1", **limits: Any
) -> str:
    until_ms = int((time.time() + ttl_s) * 1000)
    given = TaskLimits(until_ms=until_ms, **{name: tuple(value) for name, value in limits.items()})
    return task_tokens.mint(seed(rig), agent, given, user=user, task=task)


async def connect_head(rig: Rig, agent: str) -> bytes:
    """The head of what answers a CONNECT."""
    reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
    authority = f"api.example.test:{rig.provider.port}"
    writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{rig.credentials(agent)}\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    return head
