"""`running_rig`: the sidecar as `proxy.app` composes it, for one agent, with providers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httpx

from certs.authority import CertificateAuthority
from certs.bundle import merged_bundle
from proxy.app import Parts, running
from proxy.catalog.configuration import Configuration, mistakes
from proxy.catalog.loader import load_profile
from proxy.cli.variables import proxy_variables
from proxy.clock import SystemClock
from proxy.db.engine import DATABASE, open_database
from proxy.identity.directory import Directory
from proxy.identity.registry import StaticRegistry
from proxy.identity.tokens import new_token
from proxy.model import Agent
from proxy.receipts import queries
from proxy.settings import Settings
from tests.rig.provider import Provider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from proxy.app import Sidecar
    from proxy.identity.registry import Authenticator

KEY = "sk-example-REAL-0123456789abcdefghij"
OTHER_KEY = "sk-other-REAL-zyxwvutsrqponmlkjihg"
HOSTS = ("api.example.test", "other.example.test", "wild.example.test", "unmanaged.example.test")
EXAMPLE = """\
schema: 1
name: example
title: Example
docs: https://example.test/
checked: "2026-11-24"
hosts: [{{host: api.example.test, port: {port}}}]
secrets:
  api_key: {{env: [EXAMPLE_API_KEY], stand_in: {{template: "sk-example-{{base62:24}}"}}}}
credentials:
  bearer: {{kind: header, header: Authorization, prefix: "Bearer ", secret: api_key}}
  in_body: {{kind: body_field, format: json, pointer: /token, secret: api_key}}
owned_headers: [Example-Project]
strip_headers: [X-Own-Key]
strip_query: [key]
operations:
  - {{id: read, methods: [GET, HEAD], path: "/**", action: read}}
  - {{id: write, methods: [POST, PUT, PATCH], path: "/**", action: write}}
  - {{id: small, methods: [POST], path: /small, action: write, limits: {{max_body_bytes: 1000}}}}
  - {{id: slow, methods: [GET], path: /slow, action: read, limits: {{response_timeout_s: 1}}}}
  - {{id: in_body, methods: [POST], path: /in-body, action: write, credentials: [in_body], limits: {{max_held_bytes: 4096}}}}
  - {{id: ranged, methods: [GET], path: /ranged, action: read, allow_range: true}}
  - {{id: socket, methods: [GET], path: /socket, action: write, websocket: true}}
  - {{id: admin, methods: [DELETE], path: "/**", action: admin}}
"""
OTHER = """\
schema: 1
name: other
title: Other
docs: https://other.test/
checked: "2026-11-24"
hosts: [{{host: other.example.test, port: {port}}}]
secrets:
  token: {{env: [OTHER_TOKEN], stand_in: {{template: "tok-{{base62:24}}"}}}}
credentials:
  header: {{kind: header, header: X-Token, secret: token}}
operations:
  - {{id: any, methods: [GET, POST], path: "/**", action: write}}
"""


@dataclass
class Answer:
    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def problem(self) -> str | None:
        if self.headers.get("content-type") != "application/problem+json":
            return None
        return str(httpx.Response(200, content=self.body).json()["type"]).removeprefix("urn:briefcased:error:")

    def json(self) -> Any:
        return httpx.Response(200, content=self.body).json()


@dataclass
class Rig:
    """`provider` is what the sidecar may reach; `url` what an agent is given."""

    sidecar: Sidecar
    provider: Provider
    home: Path
    bundle: Path
    authority: CertificateAuthority
    configuration: Configuration
    tokens: dict[str, str]
    base: str = ""
    _clients: dict[bool, httpx.AsyncClient] = field(default_factory=dict)

    def url(self, agent: str = "tester") -> str:
        host, port = self.sidecar.proxy
        return f"http://agent:{self.tokens[agent]}@{host}:{port}"

    def env(self, agent: str = "tester") -> dict[str, str]:
        return proxy_variables(self.url(agent), self.bundle)

    def stand_in(self, provider: str = "example", slot: str = "", account: str = "", agent: str = "tester") -> str:
        for found in self.sidecar.pipeline.generation.stand_ins.all:
            fits = (found.agent, found.account.provider) == (agent, provider)
            if fits and account in ("", found.account.name) and slot in ("", found.slot):
                return found.value
        raise LookupError(provider)

    def trust(self) -> ssl.SSLContext:
        """Our root and no other: the public ones that `bundle` holds as well take a while to load."""
        return ssl.create_default_context(cadata=self.authority.bundle_pem().decode())

    @contextlib.asynccontextmanager
    async def client(
        self, agent: str = "tester", *, http2: bool = False, **options: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(
            proxy=self.url(agent),
            verify=self.trust(),
            http2=http2,
            timeout=20,
            trust_env=False,
            base_url=self.base,
            **options,
        ) as client:
            yield client

    async def call(
        self, method: str, url: str, *, agent: str = "tester", http2: bool = False, **options: Any
    ) -> Answer:
        async with self.client(agent, http2=http2) as client:
            answer = await client.request(method, url, **options)
            return Answer(answer.status_code, answer.headers, answer.content)

    async def connect(self, authority: str, agent: str = "tester") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A tunnel by hand: what follows the 200 is the caller's."""
        reader, writer = await asyncio.open_connection(*self.sidecar.proxy, limit=2**20)
        writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{self.credentials(agent)}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        return reader, writer

    def credentials(self, agent: str = "tester") -> str:
        return f"Proxy-Authorization: Bearer {self.tokens[agent]}\r\n"

    async def tls(
        self, host: str = "api.example.test", agent: str = "tester", *, alpn: str = "http/1.1"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A tunnel with TLS inside."""
        reader, writer = await self.connect(f"{host}:{self.provider.port}", agent)
        context = self.trust()
        context.set_alpn_protocols([alpn])
        await writer.start_tls(context, server_hostname=host)
        return reader, writer

    async def receipts(self) -> list[queries.Call]:
        await self.sidecar.receipts.flush()
        database = open_database(self.home / DATABASE)
        try:
            return queries.recent(database, limit=10_000)
        finally:
            database.dispose()

    async def settled(self, count: int) -> list[queries.Call]:
        """The receipts, once `count` calls have been decided and every allowed one has its outcome."""
        async with asyncio.timeout(10):
            while True:
                calls = await self.receipts()
                open_ = [c for c in calls if c.decision["decision"] == "allow" and c.outcome is None]
                if len(calls) >= count and not open_:
                    return calls
                await asyncio.sleep(0.02)

    async def problems(self) -> tuple[str, ...]:
        await self.sidecar.receipts.flush()
        database = open_database(self.home / DATABASE)
        try:
            return queries.verify_database(database, self.home).problems
        finally:
            database.dispose()


def accounts(**refs: str) -> dict[str, Any]:
    return {"accounts": {"main": {"secrets": dict(refs)}}}


@contextlib.asynccontextmanager
async def running_rig(
    folder: Path,
    *,
    profiles: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    agents: Mapping[str, tuple[str, ...]] | None = None,
    hosts: tuple[str, ...] = HOSTS,
    provider: Provider | None = None,
    resolve: Mapping[str, tuple[str, ...]] | None = None,
    before: Callable[[Authenticator, Settings], Authenticator] | None = None,
    author: str | None = None,
) -> AsyncIterator[Rig]:
    """Everything runs in this process and loop; sockets, TLS, database and files are real.

    `before` puts another authenticator before the one that knows the agents' tokens. With an `author` versions of the
    policies are kept.
    """
    given = provider is not None
    provider = provider or Provider(folder, hosts)
    if not given:
        await provider.start()
    texts = profiles if profiles is not None else {"example": EXAMPLE, "other": OTHER}
    loaded = {}
    for name, text in texts.items():
        path = folder / f"{name}.yaml"
        path.write_text(text.format(port=provider.port))
        loaded[name] = load_profile(path)
    data: dict[str, Any] = {
        "version": 1,
        "listeners": {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0"},
        "providers": {
            "example": accounts(api_key="env:EXAMPLE_API_KEY"),
            "other": accounts(token="env:OTHER_TOKEN"),
        },
        "egress": {
            "allow_private": [{"host": host, "addresses": ["127.0.0.1/32"]} for host in hosts],
            "ca_bundle": str(provider.root),
        },
        **(settings or {}),
    }
    parsed = Settings.model_validate_json(httpx.Request("POST", "http://x", json=data).content)
    found = list(mistakes(parsed, loaded))
    assert not found, found
    clock = SystemClock()
    named = {name: entry.accounts for name, entry in parsed.agents.items()}
    issued = {name: (new_token(), grants) for name, grants in (agents or named or {"tester": ("*",)}).items()}
    described = Directory.of(parsed).agents
    known = {
        digest: replace(described.get(name) or Agent(name, grants, "-"), token_id=token_id)
        for name, ((token_id, _, digest), grants) in issued.items()
    }
    authority = CertificateAuthority.ephemeral(patterns=(), clock=clock)
    registry = StaticRegistry(known, clock)
    parts = Parts(
        home=folder / "home",
        label="test",
        configuration=Configuration(parsed, loaded),
        agents=lambda: tuple(known.values()),
        authenticator=before(registry, parsed) if before is not None else registry,
        authority=authority,
        stand_in_key=b"k" * 32,
        environment={"EXAMPLE_API_KEY": KEY, "OTHER_TOKEN": OTHER_KEY, **(environment or {})},
        clock=clock,
        author=author,
        hosts=resolve if resolve is not None else dict.fromkeys(hosts, ("127.0.0.1",)),
    )
    try:
        async with running(parts) as sidecar:
            bundle = folder / "bundle.pem"
            bundle.write_bytes(merged_bundle(authority.bundle_pem(), environment={}))
            yield Rig(
                sidecar=sidecar,
                provider=provider,
                home=parts.home,
                bundle=bundle,
                authority=authority,
                configuration=parts.configuration,
                tokens={name: token for name, ((_, token, _), _) in issued.items()},
                base=f"https://{hosts[0]}:{provider.port}",
            )
    finally:
        if not given:
            await provider.stop()
