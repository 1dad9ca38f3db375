"""H-10: nothing answers whoever has not said who it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.control.tenancy import ACME, BLUE, tenancy
from tests.rig.asking import SOURCES, asked
from tests.rig.raw import read_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with tenancy(tmp_path_factory.mktemp("magic")) as rig:
        yield rig


PATHS = (
    "/", "/healthz", "/readyz", "/metrics", "/health", "/status", "/version", "/ping", "/debug/pprof/", "/debug/vars",
    "/admin", "/admin/", "/api", "/api/v1/whoami", "/api/v1/agents", "/api/v1/receipts", "/openapi.json", "/docs", "/ca",
    "/ca.pem", "/cert/pem", "/bundle.pem", "/proxy.pac", "/wpad.dat", "/setup", "/onboarding", "/login", "/config",
    "/briefcased.yaml", "/.well-known/openid-configuration", "/.well-known/http-message-signatures-directory",
    "/SKILL.md", "/manifest", "/v1/models", "/openai/v1/models", "/example/x", "/.git/config", "/.env", "/robots.txt",
    "/favicon.ico", "/actuator", "/server-status", "/__admin", "/mitm.it", "//healthz", "/../healthz", "/healthz/",
    "/HEALTHZ", "/%68ealthz", "/healthz?x", "*",
)  # fmt: skip
HOSTS = (
    "briefcased.internal", "mitm.it", "mitmproxy.local", "localhost", "127.0.0.1", "[::1]", "proxy.local", "health",
    "metadata", "169.254.169.254", "_healthz", "api.example.test", "BRIEFCASED.INTERNAL", "briefcased.internal.",
)  # fmt: skip


async def test_h_10_nothing_answers_who_has_not_said_who_it_is(rig: Rig) -> None:
    """H-10: every path in origin form, and at every host that might be magic, with several methods: never a 2xx."""
    telling = (*ACME, BLUE, "example/", "coder", "rival", "acme", "BEGIN CERTIFICATE")

    async def scan(heads: list[str]) -> None:
        for head in heads:
            answer = await asked(rig, head.encode(), next(SOURCES))
            assert answer.status in (400, 405, 407, 431), head
            assert answer.problem is not None
            assert not any(word in answer.body.decode() for word in telling), head

    heads = [
        f"{method} {path} HTTP/1.1\r\nHost: briefcased.internal\r\n\r\n" for method in ("GET", "POST") for path in PATHS
    ]
    heads += [
        f"GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n" for host in HOSTS for path in ("/", "/healthz")
    ]
    heads += [f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}\r\n\r\n" for host in HOSTS for port in (80, 443)]
    await asyncio.gather(*(scan(heads[part::8]) for part in range(8)))


async def test_h_10_the_control_listener_is_not_reached_through_the_proxy(rig: Rig) -> None:
    """H-10: by an agent that is known, too; and what health says is one bit."""
    host, port = rig.sidecar.control
    for name in (host, "localhost", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"):
        target = f"{name}:{port}"
        for raw in (
            f"CONNECT {target} HTTP/1.1\r\nHost: {target}",
            f"GET http://{target}/healthz HTTP/1.1\r\nHost: {target}",
        ):
            answer = await asked(rig, f"{raw}\r\n{rig.credentials('coder')}\r\n".encode())
            assert answer.status in (400, 403), target
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = await read_answer(reader)
    assert (answer.status, answer.body.strip()) == (200, b'{"status":"ok"}')
    writer.close()
