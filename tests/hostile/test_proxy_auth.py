"""Who is not believed: the matrix of proxy credentials, through the real proxy."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from proxy.canonical import proxy_protocol
from proxy.clock import SystemClock
from proxy.db.engine import open_database
from proxy.errors import Denial
from proxy.identity import store
from proxy.identity.directory import Directory
from proxy.identity.registry import AgentRegistry
from proxy.identity.throttle import MAX_SOURCES
from tests.control.tenancy import BLUE, tenancy
from tests.rig.asking import NONSENSE, SOURCES, absolute, asked, basic, connect
from tests.rig.raw import read_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with tenancy(tmp_path_factory.mktemp("auth")) as rig:
        yield rig


def credentials(token: str, expired: str) -> dict[str, list[str]]:
    """Lines that name nobody."""
    header = "Proxy-Authorization: "
    return {
        "empty": [header],
        "scheme alone": [header + "Bearer"],
        "no scheme": [header + token],
        "another scheme": [header + f"Digest {token}"],
        "Negotiate": [header + "Negotiate YIIB"],
        "NTLM": [header + "NTLM TlRMTVNTUAAB"],
        "two tokens": [header + f"Bearer {token} {token}"],
        "a list": [header + f"Bearer {token}, Bearer {token}"],
        "in quotes": [header + f'Bearer "{token}"'],
        "as a parameter": [header + f"Bearer token={token}"],
        "upper-case": [header + f"Bearer {token.upper()}"],
        "cut": [header + f"Bearer {token[:-1]}"],
        "longer": [header + f"Bearer {token}A"],
        "unknown": [header + f"Bearer {NONSENSE}"],
        "its id, another secret": [header + f"Bearer {token[:17]}{'A' * 43}"],
        "expired": [header + f"Bearer {expired}"],
        "not base64": [header + "Basic ???"],
        "no colon": [header + "Basic " + base64.b64encode(b"user").decode()],
        "base64 twice": [header + "Basic " + base64.b64encode(basic("agent", token)[6:].encode()).decode()],
        "Authorization": [f"Authorization: Bearer {token}"],
        "X-Proxy-Authorization": [f"X-Proxy-Authorization: Bearer {token}"],
        "a cookie": [f"Cookie: proxy-authorization={token}"],
        "huge": [header + "Bearer " + "A" * 20_000],
    }


KINDS = tuple(credentials("", ""))


@pytest.mark.parametrize("kind", KINDS)
async def test_h_01_who_sends_no_valid_credential_gets_the_same_407(rig: Rig, kind: str) -> None:
    """H-01: a receipt for each, and an answer that tells nothing of hosts, accounts or agents."""
    known = len(await rig.receipts())
    lines = credentials(rig.tokens["coder"], NONSENSE)[kind]
    first = await asked(rig, absolute(rig, *lines), next(SOURCES))
    assert (first.status, first.problem) == (407, "proxy_auth_required")
    (call,) = (await rig.settled(known + 1))[known:]
    assert (call.decision["decision"], call.decision["slug"], call.decision["agent"]) == (
        "deny", "proxy_auth_required", "-",
    )  # fmt: skip
    body = first.body.decode()
    bare = await asked(rig, absolute(rig), next(SOURCES))
    assert without_receipt(body) == without_receipt(bare.body.decode())  # H-03: nobody learns which part was wrong
    assert not any(word in body for word in ("example", "coder", "rival", "acme", rig.tokens["coder"]))
    tunnel = await asked(rig, connect(rig, *lines), next(SOURCES))
    assert (tunnel.status, tunnel.problem) == (407, "proxy_auth_required")


def without_receipt(body: str) -> str:
    return str({name: value for name, value in json.loads(body).items() if name not in ("receipt", "instance")})


async def test_h_01_two_headers_are_one_too_many(rig: Rig) -> None:
    """H-01: also where both are right, or say the same: no part of the way may pick the other one."""
    coder, rival = (f"Proxy-Authorization: Bearer {rig.tokens[name]}" for name in ("coder", "rival"))
    for raw in (connect, absolute):
        for pair in ((coder, rival), (rival, coder), (coder, coder), (coder, "Proxy-Authorization: Bearer x")):
            answer = await asked(rig, raw(rig, *pair), next(SOURCES))
            assert answer.status in (400, 407), pair


async def test_h_01_an_expired_token_is_like_none(tmp_path: Path) -> None:
    """H-01: by the registry of the database, at the millisecond."""
    clock = SystemClock()
    database = open_database(tmp_path / "b.db")
    expired = store.add_agent(database, "coder", ("*",), clock=clock, expires_at_ms=clock.wall_ms() - 1)
    registry = AgentRegistry(database, clock=clock, directory=Directory())
    refused = registry.authenticate(f"Bearer {expired}", "a")
    assert refused == registry.authenticate(f"Bearer {NONSENSE}", "a")
    assert isinstance(refused, Denial)
    database.dispose()


@pytest.mark.parametrize("attempts", [60, pytest.param(3_000, marks=pytest.mark.slow)])
async def test_h_02_guessing_is_throttled_from_loopback_too(rig: Rig, attempts: int) -> None:
    """H-02: none succeeds, nearly all get a 429, and the right token still gets in from the same address."""
    source, token = next(SOURCES), rig.tokens["coder"]
    statuses = []

    async def guess(count: int) -> None:
        for _ in range(count):
            wrong = token[:17] + secrets.token_urlsafe(32)  # a token's id is no secret: 256 bits are left
            statuses.append((await asked(rig, connect(rig, f"Proxy-Authorization: Bearer {wrong}"), source)).status)

    await asyncio.gather(*(guess(attempts // 10) for _ in range(10)))
    assert set(statuses) == {407, 429}
    assert statuses.count(407) < 15 + attempts // 100
    right = await asyncio.open_connection(*rig.sidecar.proxy, local_addr=(source, 0))
    right[1].write(connect(rig, f"Proxy-Authorization: Bearer {token}"))
    assert (await read_answer(right[0], head_only=True)).status == 200
    right[1].transport.abort()


@pytest.mark.parametrize("attempts", [2_000, pytest.param(100_000, marks=pytest.mark.slow)])
async def test_h_02_so_many_guesses_find_nothing(tmp_path: Path, attempts: int) -> None:
    """H-02: guesses at one known token, from loopback, by the registry of the database: success 0."""
    clock = SystemClock()
    database = open_database(tmp_path / "b.db")
    token = store.add_agent(database, "coder", ("*",), clock=clock)
    registry = AgentRegistry(database, clock=clock, directory=Directory())
    for _ in range(attempts):
        guess = token[:17] + secrets.token_urlsafe(32)
        assert isinstance(registry.authenticate(f"Bearer {guess}", "127.0.0.1"), Denial)
    assert len(token[17:]) * 6 >= 256  # bits: base64url
    assert not isinstance(registry.authenticate(f"Bearer {token}", "127.0.0.1"), Denial)
    database.dispose()


async def test_h_02_spraying_from_many_addresses_is_throttled_together(tmp_path: Path) -> None:
    """H-02: a limiter for all sources together; what it remembers is bounded (P7), and right tokens pass."""
    clock = SystemClock()
    database = open_database(tmp_path / "b.db")
    token = store.add_agent(database, "coder", ("*",), clock=clock)
    registry = AgentRegistry(database, clock=clock, directory=Directory())
    slugs = []
    for number in range(MAX_SOURCES + 1000):
        answer = registry.authenticate(f"Bearer {NONSENSE}", f"2001:db8::{number:x}")
        assert isinstance(answer, Denial)
        slugs.append(answer.slug)
    assert slugs[0] == "proxy_auth_required"
    assert slugs.count("proxy_auth_required") < 1200
    assert slugs[-1] == "proxy_auth_throttled"
    assert not isinstance(registry.authenticate(f"Bearer {token}", "2001:db8::1"), Denial)
    database.dispose()


SPOOFED = (
    "X-Forwarded-For: 10.9.8.7", "Forwarded: for=10.9.8.7;by=rival", "X-Real-IP: 10.9.8.7", "True-Client-IP: 10.9.8.7",
    "CF-Connecting-IP: 10.9.8.7", "X-Agent-Id: rival", "X-Forwarded-User: rival", "X-Remote-User: rival",
    "Remote-User: rival", "X-Tenant: globex", "X-SPIFFE-ID: spiffe://example.org/rival",
    "X-Forwarded-Client-Cert: URI=spiffe://example.org/rival", "X-Client-Cert: MIIB", "X-Forwarded-Host: rival",
    "Via: 1.1 rival", "X-Original-URL: http://briefcased.internal/",
)  # fmt: skip


@pytest.mark.parametrize("line", SPOOFED)
async def test_h_06_no_header_says_who_asks(rig: Rig, line: str) -> None:
    """H-06: without a token it is nobody, with one it is the token's agent."""
    source = next(SOURCES)
    assert (await asked(rig, absolute(rig, line), source)).status == 407
    assert (await asked(rig, connect(rig, line), source)).status == 407
    known = len(await rig.receipts())
    name, _, value = line.partition(": ")
    assert (await rig.call("GET", "/x", agent="coder", headers={name: value})).status == 200
    call = (await rig.settled(known + 1))[known].decision
    assert (call["agent"], call["tenant"]) == ("coder", "acme")
    assert not any(secret in str(rig.provider.last.head) for secret in (BLUE,))


async def test_h_06_nobody_hides_from_the_throttle_behind_a_header(rig: Rig) -> None:
    """H-06: failures count for the address of the connection, whatever is forwarded."""
    source, wrong = next(SOURCES), f"Proxy-Authorization: Bearer {NONSENSE}"
    statuses = [
        (
            await asked(rig, connect(rig, wrong, f"X-Forwarded-For: 10.0.0.{n}", f"Forwarded: for=10.0.0.{n}"), source)
        ).status
        for n in range(12)
    ]
    assert statuses[-1] == 429


async def test_h_06_a_proxy_protocol_header_is_not_believed_where_none_is_configured(rig: Rig) -> None:
    """H-06: neither version, and not on loopback either: the connection is refused."""
    second = proxy_protocol.encode(("10.9.8.7", 1234), ("10.9.8.6", 443), None)
    for preface in (b"PROXY TCP4 10.9.8.7 10.9.8.6 1 2\r\n", second):
        line = f"Proxy-Authorization: Bearer {rig.tokens['coder']}"
        try:
            answer = await asked(rig, preface + connect(rig, line), next(SOURCES))
        except (OSError, asyncio.IncompleteReadError):
            continue
        assert answer.status == 400
