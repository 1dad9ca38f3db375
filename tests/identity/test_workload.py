"""Agents that come with a token of their platform: a real key server over TLS, the real registry behind, the whole proxy."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import statistics
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from proxy.egress.dial import Dialler
from proxy.egress.http import HttpClient
from proxy.egress.resolver import Resolver
from proxy.errors import Denial
from proxy.identity.directory import Directory
from proxy.identity.keys import MAX_DOCUMENT_BYTES, UNKNOWN_KEY_S, FromFile, FromUrl, Keys
from proxy.identity.registry import StaticRegistry
from proxy.identity.throttle import FAILURES
from proxy.identity.workload import WorkloadAuthenticator
from proxy.identity_settings import TokenIssuer
from proxy.model import Agent, User
from proxy.settings import UpstreamProxyEntry
from tests.fakes.issuer import AUDIENCE, HOST, ISSUER, NOW, SUBJECT, JwksServer, new_key, token
from tests.fakes.upstream_proxy import UpstreamProxy
from tests.rig import Provider, running_rig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HERE = "192.0.2.1"
RULES = {"issuer": ISSUER, "audience": AUDIENCE, "agent": {"map": {SUBJECT: "coder"}}}


def granting(**accounts):
    return Directory(agents={name: Agent(name, grants, "-") for name, grants in accounts.items()})


class HandClock:
    """Stands still until it is moved; begins where the tokens do."""

    def __init__(self) -> None:
        self.moved_s = 0.0
        self.began_s = NOW

    def wall_ms(self) -> int:
        return int((self.began_s + self.moved_s) * 1000)

    def monotonic_s(self) -> float:
        return 1000.0 + self.moved_s


@dataclass
class Desk:
    """`authenticator` asks `server`; `revoked` are the names that were taken back."""

    authenticator: WorkloadAuthenticator
    server: JwksServer
    provider: Provider
    clock: HandClock
    keys: Keys
    revoked: set[str]

    async def ask(self, text: str | None, source: str = HERE) -> str:
        """The agent's name, or the slug."""
        header = None if text is None else f"Bearer {text}"
        await self.authenticator.prepare(header)
        found = self.authenticator.authenticate(header, source)
        return found.slug if isinstance(found, Denial) else found.name


@contextlib.asynccontextmanager
async def desk(
    folder: Path, *keys: Any, proxy: UpstreamProxyEntry | None = None, resolve: bool = True, **changed: Any
) -> AsyncIterator[Desk]:
    provider = Provider(folder, (HOST, "other.example.test"))
    await provider.start()
    server = JwksServer(list(keys))
    provider.on("/openid/v1/jwks", server)
    url = f"https://{HOST}:{provider.port}/openid/v1/jwks"
    described = {**RULES, "jwks_url": url, "ca_file": str(provider.root), **changed}
    rules = TokenIssuer.model_validate_json(json.dumps(described))
    clock, revoked = HandClock(), set()
    resolver = Resolver(clock=clock, timeout_s=1.0, hosts={HOST: ("127.0.0.1",)} if resolve else {})
    dialler = Dialler(resolver=resolver, connect_timeout_s=5.0, own_listeners=frozenset)
    source = FromUrl(rules, http=HttpClient(dialler=dialler, timeout_s=5.0), proxy=proxy)
    held = Keys(source, issuer=rules, clock=clock)
    authenticator = WorkloadAuthenticator(
        StaticRegistry({}, clock),
        [(rules, held)],
        directory=granting(coder=("example/*",)),
        revoked=lambda: frozenset(revoked),
        clock=clock,
    )
    try:
        yield Desk(authenticator, server, provider, clock, held, revoked)
    finally:
        await provider.stop()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_a_token_is_its_agent_with_the_grants_of_the_configuration(tmp_path, algorithm):
    key = new_key(algorithm, "one")
    async with desk(tmp_path, key) as at:
        text = token(key, algorithm)
        assert await at.ask(text) == "coder"
        agent = at.authenticator.authenticate(f"Bearer {text}", HERE)
        assert (agent.accounts, agent.token_id[:4]) == (("example/*",), "jwt_")
        assert text not in repr(agent)
        assert at.authenticator.current(agent) == agent
        assert at.server.fetched == 1


async def test_p5_what_is_wrong_looks_like_a_wrong_token_and_is_counted(tmp_path):
    key = new_key("ES256", "one")
    async with desk(tmp_path, key) as at:
        wrong = [token(key, "ES256", aud="other"), token(new_key("ES256", "one"), "ES256"), token(key, "ES256", exp=1)]
        for number in range(FAILURES):
            assert await at.ask(wrong[number % 3]) == "proxy_auth_required"
        assert await at.ask(wrong[0]) == "proxy_auth_throttled"
        assert await at.ask(wrong[0], "192.0.2.2") == "proxy_auth_required"
        assert await at.ask(token(key, "ES256")) == "coder"  # a right one passes all the same
        assert await at.ask(None) == "proxy_auth_required"


async def test_keys_rotate(tmp_path):
    old, new = new_key("RS256", "old"), new_key("ES256", "new")
    async with desk(tmp_path, old) as at:
        first = token(old, "RS256")
        assert await at.ask(first) == "coder"
        agent = at.authenticator.authenticate(f"Bearer {first}", HERE)
        at.server.keys = [old, new]
        at.clock.moved_s += UNKNOWN_KEY_S + 1
        assert await at.ask(token(new, "ES256")) == "coder"  # an unknown key is fetched at once
        assert at.server.fetched == 2
        assert at.authenticator.current(agent) == agent
        at.server.keys = [new]  # what is taken back ends also for who was verified before
        at.clock.moved_s += 301
        await at.keys.refresh()
        assert at.authenticator.current(agent) is None
        assert await at.ask(first) == "proxy_auth_required"


async def test_p7_unknown_keys_cause_one_fetch_in_a_time_however_many_ask_at_once(tmp_path):
    key, stranger = new_key("ES256", "one"), new_key("ES256", "stranger")
    async with desk(tmp_path, key) as at:
        answers = await asyncio.gather(*(at.ask(token(key, "ES256"), f"192.0.2.{i}") for i in range(20)))
        assert (set(answers), at.server.fetched) == ({"coder"}, 1)
        for _ in range(3):
            await asyncio.gather(*(at.ask(token(stranger, "ES256", jti=str(i)), f"192.0.2.{i}") for i in range(20)))
        assert at.server.fetched == 1
        at.clock.moved_s += UNKNOWN_KEY_S + 1
        await asyncio.gather(*(at.ask(token(stranger, "ES256", jti=str(i)), f"198.51.100.{i}") for i in range(20)))
        assert at.server.fetched == 2


async def test_an_unchanged_set_is_not_sent_again(tmp_path):
    key = new_key("ES256", "one")
    async with desk(tmp_path, key) as at:
        await at.ask(token(key, "ES256"))
        for _ in range(3):
            at.clock.moved_s += 301
            await at.keys.refresh()
        assert (at.server.fetched, at.server.not_modified) == (4, 3)
        assert await at.ask(token(key, "ES256", exp=NOW + 5000)) == "coder"


async def test_p5_keys_that_cannot_be_fetched_are_believed_for_a_time_only(tmp_path, caplog):
    key = new_key("ES256", "one")
    async with desk(tmp_path, key, keys_stale_s=600) as at:
        lasting = token(key, "ES256", exp=NOW + 5000)
        assert await at.ask(lasting) == "coder"
        agent = at.authenticator.authenticate(f"Bearer {lasting}", HERE)
        at.server.status = 500
        at.clock.moved_s += 800
        await at.keys.refresh()
        assert await at.ask(token(key, "ES256", exp=NOW + 5001)) == "coder"
        at.clock.moved_s += 200
        assert await at.ask(lasting) == "policy_unavailable"
        assert at.authenticator.current(agent) is None
        at.server.status = 200
        at.clock.moved_s += 6
        assert await at.ask(lasting) == "coder"
    assert "keys of https://issuer.example.test" in caplog.text
    assert lasting not in caplog.text


BAD = {
    "another status": {"status": 302},
    "no JSON": {"document": b"<html>"},
    "no set": {"document": b'{"keys": 3}'},
    "too long": {"document": b" " * (MAX_DOCUMENT_BYTES + 1)},
    "a bearer that we lack": {"bearer": "x"},
}


@pytest.mark.parametrize("changed", BAD.values(), ids=BAD)
async def test_p5_without_keys_nobody_is_believed(tmp_path, changed):
    key = new_key("ES256", "one")
    async with desk(tmp_path, key) as at:
        for name, value in changed.items():
            setattr(at.server, name, value)
        for _ in range(FAILURES + 3):  # it is our fault, so nobody is throttled for it
            assert await at.ask(token(key, "ES256")) == "policy_unavailable"
        assert at.server.fetched == 1


async def test_p2_a_key_server_that_is_not_trusted_is_not_asked(tmp_path):
    key = new_key("ES256", "one")
    async with desk(tmp_path, key) as at:
        at.provider.contexts[HOST] = at.provider.contexts["other.example.test"]
        assert await at.ask(token(key, "ES256")) == "policy_unavailable"
        assert at.server.fetched == 0


async def test_the_clusters_own_endpoint_gets_a_bearer_that_is_read_each_time(tmp_path):
    key, file = new_key("RS256", "one"), tmp_path / "token"
    file.write_text("first-token\n")
    async with desk(tmp_path, key, bearer_file=str(file)) as at:
        at.server.bearer = "first-token"
        assert await at.ask(token(key, "RS256")) == "coder"
        file.write_text("second-token")
        at.server.bearer = "second-token"
        at.clock.moved_s += 301
        await at.keys.refresh()
        assert at.server.fetched == 2
        assert at.keys.current()
        assert at.server.seen[-1].one("host") == f"{HOST}:{at.provider.port}"


async def test_keys_come_through_the_upstream_proxy(tmp_path):
    key = new_key("ES256", "one")
    async with UpstreamProxy("http", {HOST: "127.0.0.1"}) as fake:
        entry = UpstreamProxyEntry(url=f"http://127.0.0.1:{fake.port}")
        async with desk(tmp_path, key, proxy=entry, resolve=False) as at:
            assert await at.ask(token(key, "ES256")) == "coder"
            assert fake.targets == [f"{HOST}:{at.provider.port}"]


async def test_keys_in_a_file_are_read_again_when_it_changes(tmp_path):
    old, new, file = new_key("ES256", "old"), new_key("ES256", "new"), tmp_path / "jwks.json"
    file.write_bytes(JwksServer([old]).published())
    rules = TokenIssuer.model_validate_json(json.dumps({**RULES, "jwks_file": str(file)}))
    clock = HandClock()
    keys = Keys(FromFile(file), issuer=rules, clock=clock)
    await keys.refresh()
    assert [key.id for key in keys.current()] == ["old"]
    file.write_bytes(JwksServer([old, new]).published())
    clock.moved_s += 301
    await keys.refresh()
    assert [key.id for key in keys.current()] == ["old", "new"]
    file.unlink()
    clock.moved_s += 301
    await keys.refresh()
    assert len(keys.current()) == 2
    clock.moved_s += 3601
    assert keys.current() is None


async def test_an_agent_that_is_revoked_or_no_longer_named_is_nobody(tmp_path):
    key = new_key("ES256", "one")
    async with desk(tmp_path, key) as at:
        text = token(key, "ES256")
        assert await at.ask(text) == "coder"
        agent = at.authenticator.authenticate(f"Bearer {text}", HERE)
        at.revoked.add("coder")
        at.clock.moved_s += 3
        assert (at.authenticator.current(agent), await at.ask(text)) == (None, "proxy_auth_required")
        at.revoked.clear()
        at.clock.moved_s += 3
        assert await at.ask(text) == "coder"
        at.authenticator.redirect(granting(other=()))
        assert await at.ask(text) == "proxy_auth_required"
        at.authenticator.redirect(granting(coder=("other/x",)))
        assert at.authenticator.current(agent).accounts == ("other/x",)


async def test_p5_when_revocations_cannot_be_read_nobody_is_believed(tmp_path):
    key = new_key("ES256", "one")
    async with desk(tmp_path, key) as at:
        text = token(key, "ES256")
        assert await at.ask(text) == "coder"

        def broken():
            raise OperationalError("select", {}, Exception("gone"))

        at.authenticator._ask_revoked = broken
        at.clock.moved_s += 3
        assert await at.ask(text) == "policy_unavailable"


async def test_a_verified_token_ends_with_its_time(tmp_path):
    key = new_key("ES256", "one")
    async with desk(tmp_path, key) as at:
        text = token(key, "ES256", exp=NOW + 100)
        assert await at.ask(text) == "coder"
        agent = at.authenticator.authenticate(f"Bearer {text}", HERE)
        at.clock.moved_s += 125  # the leeway is 30 s
        assert at.authenticator.current(agent) == agent
        at.clock.moved_s += 10
        assert at.authenticator.current(agent) is None
        assert await at.ask(text) == "proxy_auth_required"


async def test_a_token_that_was_verified_costs_little(tmp_path):
    key = new_key("RS256", "one")
    async with desk(tmp_path, key) as at:
        header = f"Bearer {token(key, 'RS256')}"
        await at.authenticator.prepare(header)
        taken = []
        for _ in range(300):
            began = time.perf_counter()
            await at.authenticator.prepare(header)
            assert isinstance(at.authenticator.authenticate(header, HERE), Agent)
            taken.append(time.perf_counter() - began)
        assert statistics.median(taken) < 0.0005


async def test_p7_memory_of_verified_tokens_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("proxy.identity.workload.MAX_REMEMBERED", 10)
    key = new_key("ES256", "one")
    async with desk(tmp_path, key) as at:
        for number in range(15):
            assert await at.ask(token(key, "ES256", jti=str(number))) == "coder"
        assert len(at.authenticator._remembered) == 10


async def test_p5_the_user_comes_from_the_claim_or_nobody_does(tmp_path):
    key = new_key("ES256", "one")
    rule = {"claim": "email", "map": {"a@x": "alice"}, "match": "{user}@corp.test"}
    async with desk(tmp_path, key, user=rule) as at:
        users = {name: User(name, ("example/*",), tenant) for name, tenant in (("alice", "main"), ("bob", "other"))}
        coder = Agent("coder", ("example/*",), "-", users=("alice", "bob"))
        at.authenticator.redirect(Directory(users=users, agents={"coder": coder}))
        text = token(key, "ES256", email="a@x")
        assert await at.ask(text) == "coder"
        agent = at.authenticator.authenticate(f"Bearer {text}", HERE)
        assert agent.user == users["alice"]
        assert await at.ask(token(key, "ES256", email="alice@corp.test")) == "coder"
        for nobody in ({"email": "bob@corp.test"}, {"email": "carl@corp.test"}, {"email": "x@y"}, {"email": 1}, {}):
            assert await at.ask(token(key, "ES256", **nobody)) == "proxy_auth_required", nobody
        at.authenticator.redirect(Directory(users=users, agents={"coder": replace(coder, users=())}))
        assert at.authenticator.current(agent) is None


@pytest.mark.parametrize("http2", [False, True])
async def test_a_call_whole_with_a_service_accounts_token(tmp_path, caplog, http2):
    key = new_key("RS256", "one")
    async with desk(tmp_path, key) as at:

        def before(registry, settings):
            rules = [(at.authenticator._issuers[0][0].model_copy(update={"agent": mapped}), at.keys)]
            return WorkloadAuthenticator(
                registry, rules, directory=granting(tester=("*",)), revoked=frozenset, clock=at.clock
            )

        mapped = TokenIssuer.model_validate_json(
            json.dumps({**RULES, "jwks_file": "/x", "agent": {"map": {SUBJECT: "tester"}}})
        ).agent
        folder = tmp_path / "rig"
        folder.mkdir()
        async with running_rig(folder, before=before) as rig:
            good, bad = token(key, "RS256"), token(key, "RS256", aud="other")
            rig.tokens["tester"] = good
            answer = await rig.call("GET", "/x", headers={"authorization": f"Bearer {rig.stand_in()}"}, http2=http2)
            assert answer.status == 200
            rig.tokens["tester"] = bad
            with pytest.raises(httpx.ProxyError, match="407"):
                await rig.call("GET", "/x", http2=http2)
            calls = await rig.settled(2)
        told = json.dumps([[call.decision, call.outcome] for call in calls]) + caplog.text
    assert {call.decision["agent"] for call in calls} == {"tester", "-"}
    assert next(c for c in calls if c.decision["agent"] == "tester").decision["token_id"].startswith("jwt_")
    for text in (good, bad, base64.b64encode(f"agent:{good}".encode()).decode()):
        assert text not in told
