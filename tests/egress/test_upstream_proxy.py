"""Calls through an upstream proxy, whole: agent, sidecar, the operator's proxy, provider."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.upstream_proxy import PASSWORD, USER, UpstreamProxy
from tests.rig import Provider, Rig, running_rig
from tests.rig.sidecar import HOSTS, KEY, accounts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NAMES = dict.fromkeys(HOSTS, "127.0.0.1")
LOGIN = {"username": "env:CORP_USER", "password": "env:CORP_PASSWORD"}


@dataclass
class Chained:
    """A rig whose sidecar resolves nothing: only the upstream proxy knows where providers are."""

    rig: Rig
    fake: UpstreamProxy

    @property
    def target(self) -> str:
        return f"api.example.test:{self.rig.provider.port}"


@contextlib.asynccontextmanager
async def chained(
    folder: Path, speaks: str = "http", *, word: str = PASSWORD, entry: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None, **fake: Any,
) -> AsyncIterator[Chained]:  # fmt: skip
    hosts = (*HOSTS, "corp.example.test")
    provider = Provider(folder, hosts)
    await provider.start()
    tls = provider.contexts["corp.example.test"] if speaks == "https" else None
    spoken = "socks5" if speaks == "socks5" else "http"
    async with UpstreamProxy(spoken, NAMES, tls=tls, **fake) as upstream:
        described = {"url": f"{speaks}://corp.example.test:{upstream.port}", **(entry or {})}
        if speaks == "https":
            described["ca_bundle"] = str(provider.root)
        egress = {"upstream_proxy": described, "ca_bundle": str(provider.root), "connect_timeout_s": 2.0}
        async with running_rig(
            folder,
            provider=provider,
            resolve={"corp.example.test": ("127.0.0.1",)},
            settings={"egress": egress, **(settings or {})},
            environment={"CORP_USER": USER, "CORP_PASSWORD": word},
        ) as rig:
            yield Chained(rig, upstream)
    await provider.stop()


@pytest.mark.parametrize("speaks", ["http", "https", "socks5"])
@pytest.mark.parametrize("http2", [False, True])
async def test_a_call_goes_through_and_its_tls_ends_at_the_provider(tmp_path, caplog, speaks, http2):
    async with chained(tmp_path, speaks, login=True, entry=LOGIN) as on:
        answer = await on.rig.call("POST", "/x", content=b"hello" * 1000, http2=http2)
        (call,) = await on.rig.settled(1)
        seen = on.rig.provider.last
    assert answer.status == 200, answer.body
    assert seen.one("authorization") == f"Bearer {KEY}"
    assert seen.body == b"hello" * 1000
    assert seen.one("proxy-authorization") is None
    assert on.fake.targets == [on.target]
    assert call.decision["upstream_proxy"] == f"corp.example.test:{on.fake.port}"
    assert call.outcome["address"] == "127.0.0.1"
    for text in (json.dumps([call.decision, call.outcome]), caplog.text, answer.body.decode(), str(answer.headers)):
        assert PASSWORD not in text
    assert KEY.encode() not in b"".join(on.fake.heads)


@pytest.mark.parametrize("speaks", ["http", "socks5"])
async def test_p1_a_wrong_password_is_our_502_and_never_a_407(tmp_path, caplog, speaks):
    async with chained(tmp_path, speaks, login=True, entry=LOGIN, word="wrong-wrong") as on:
        answer = await on.rig.call("GET", "/x")
        (call,) = await on.rig.settled(1)
        assert on.rig.provider.attempts == on.rig.provider.connections == 0
    assert (answer.status, answer.problem) == (502, "upstream_proxy_auth")
    assert "proxy-authenticate" not in answer.headers
    assert (call.outcome["outcome"], call.outcome["error"]) == ("not_sent", "upstream_proxy_auth")
    said = json.dumps([call.decision, call.outcome]) + caplog.text + answer.body.decode() + str(answer.headers)
    assert "wrong-wrong" not in said
    assert f"upstream proxy corp.example.test:{on.fake.port}" in caplog.text


@pytest.mark.parametrize(
    ("fake", "slug", "status"),
    [
        ({"login": True}, "upstream_proxy_auth", 502),
        ({"answer": b"HTTP/1.1 403 Forbidden\r\n\r\nsecret page"}, "upstream_proxy_refused", 502),
        ({"answer": b"HTTP/1.1 504 Late\r\n\r\n"}, "upstream_timeout", 504),
        ({"answer": b"what?\r\n\r\n"}, "upstream_proxy_unavailable", 502),
        ({"silent": True}, "upstream_proxy_unavailable", 502),
    ],
    ids=["login", "forbidden", "late", "not http", "silent"],
)
async def test_what_goes_wrong_at_the_proxy_is_told_apart(tmp_path, fake, slug, status):
    async with chained(tmp_path, entry={"timeout_s": 0.5}, **fake) as on:
        answer = await on.rig.call("GET", "/x")
        assert (answer.status, answer.problem) == (status, slug)
        assert b"secret page" not in answer.body
        assert on.rig.provider.connections == 0
        await on.rig.settled(1)
        assert await on.rig.problems() == ()


async def test_p2_the_proxy_cannot_stand_in_for_the_provider(tmp_path):
    async with chained(tmp_path) as on:
        on.rig.provider.contexts["api.example.test"] = on.rig.provider.contexts["other.example.test"]
        answer = await on.rig.call("GET", "/x")
        assert answer.problem == "upstream_tls_untrusted"
        assert on.rig.provider.requests == []


async def test_p3_the_proxy_hears_nothing_of_a_call_that_is_refused(tmp_path):
    async with chained(tmp_path) as on:
        assert (await on.rig.call("DELETE", "/x")).problem == "policy_denied"
        (call,) = await on.rig.settled(1)
        assert on.fake.connections == 0
    assert call.decision["upstream_proxy"] is None


async def test_a_provider_may_go_directly_and_another_through_a_proxy_of_its_own(tmp_path):
    direct = {
        "example": {**accounts(api_key="env:EXAMPLE_API_KEY"), "upstream_proxy": "direct"},
        "other": accounts(token="env:OTHER_TOKEN"),
    }
    async with chained(tmp_path, settings={"providers": direct}) as on:
        answer = await on.rig.call("GET", "/x")
        assert answer.problem == "upstream_unreachable"  # we resolve now, and know nothing
        assert on.fake.connections == 0
        other = f"https://other.example.test:{on.rig.provider.port}/x"
        assert (await on.rig.call("GET", other)).status == 200
        assert on.fake.targets == [f"other.example.test:{on.rig.provider.port}"]


async def test_p2_what_no_proxy_names_is_resolved_and_vetted_here(tmp_path):
    async with chained(tmp_path, entry={"no_proxy": ["example.test"]}) as on:
        assert (await on.rig.call("GET", "/x")).problem == "upstream_unreachable"
        assert on.fake.connections == 0


async def test_p6_another_proxy_is_another_connection(tmp_path):
    """A reload that changes the way out takes effect on agents' connections that are open."""
    async with chained(tmp_path) as on, UpstreamProxy("http", NAMES) as second:
        async with on.rig.client() as client:
            for _ in range(2):
                assert (await client.get("/x")).status_code == 200
            assert (on.fake.connections, second.connections) == (1, 0)
            old = on.rig.configuration
            moved = old.settings.egress.upstream_proxy.model_copy(
                update={"url": f"http://corp.example.test:{second.port}"}
            )
            egress = old.settings.egress.model_copy(update={"upstream_proxy": moved})
            settings = old.settings.model_copy(update={"egress": egress})
            await on.rig.sidecar.reload(type(old)(settings, old.profiles))
            assert (await client.get("/x")).status_code == 200
            assert (on.fake.connections, second.connections) == (1, 1)


@pytest.mark.parametrize("speaks", ["http", "https", "socks5"])
async def test_an_unread_tunnel_takes_the_same_way(tmp_path, speaks):
    async with chained(tmp_path, speaks, login=True, entry=LOGIN, settings={"unmatched": "pass"}) as on:
        host = "unmanaged.example.test"
        reader, writer = await on.rig.connect(f"{host}:{on.rig.provider.port}")
        import ssl

        context = ssl.create_default_context(cafile=str(on.rig.provider.root))
        await writer.start_tls(context, server_hostname=host)
        writer.write(f"GET /x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        async with asyncio.timeout(5):
            assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        (call,) = await on.rig.settled(1)
        assert on.fake.targets == [f"{host}:{on.rig.provider.port}"]
    assert call.decision["upstream_proxy"] == f"corp.example.test:{on.fake.port}"


async def test_an_unread_tunnel_that_the_proxy_refuses_is_a_502(tmp_path):
    async with chained(tmp_path, login=True, settings={"unmatched": "pass"}) as on:
        reader, writer = await asyncio.open_connection(*on.rig.sidecar.proxy)
        place = f"unmanaged.example.test:{on.rig.provider.port}"
        writer.write(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{on.rig.credentials()}\r\n".encode())
        said = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        (call,) = await on.rig.settled(1)
    assert said.startswith(b"HTTP/1.1 502 ")
    assert b"upstream_proxy_auth" in said
    assert (call.outcome["outcome"], call.outcome["error"]) == ("not_sent", "upstream_proxy_auth")
