"""`kind: capability` through the real sidecar, against a provider that counts, revokes and verifies by other code."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import pytest
import pytest_asyncio

from proxy.credentials.capability.caveats import Demands, caveats_of
from proxy.credentials.vc.jose import BadTokenError
from tests.fakes.capabilities import Capabilities
from tests.fakes.credential_issuer import answer, key, public, signed
from tests.rig import running_rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOSTS = ("api.example.test", "mint.example.test")
API_KEY = "api-key-REAL-CANARY-0123456789"
PROFILE = """\
schema: 1
name: example
title: Example
docs: https://example.test/
checked: "2026-11-25"
hosts: [{{host: api.example.test, port: {port}}}]
secrets:
  api_key: {{env: [EXAMPLE_KEY], stand_in: {{template: "key-{{base62:24}}"}}}}
variables: {{project: {{default: alpha}}}}
credentials:
  plain: &plain
    kind: capability
    endpoint: "https://mint.example.test:{port}/mint"
    using: {{kind: header, prefix: "Bearer ", secret: api_key}}
    request: {{project: "{{project}}", scope: [read], nested: {{deep: ["{{project}}"]}}}}
    scope: [read]
    audience: https://api.example.test
    refusals: REFUSALS
  bound:
    kind: capability
    endpoint: "https://mint.example.test:{port}/mint"
    using: {{kind: header, prefix: "Bearer ", secret: api_key}}
    sender: dpop
    refusals: REFUSALS
operations:
  - {{id: use, methods: [GET, POST], path: "/use", action: write, credentials: [plain]}}
  - {{id: bound, methods: [GET, POST], path: "/bound", action: write, credentials: [bound]}}
"""
REFUSALS = (
    json.dumps(
        [
            {"status": status, "error": error, "means": means}
            for status in (401, 403)
            for error, means in (
                ("calls_exhausted", "exhausted"),
                ("capability_expired", "expired"),
                ("capability_replayed", "replayed"),
                ("capability_revoked", "revoked"),
            )
        ]
    )
    .replace("{", "{{")
    .replace("}", "}}")
)


class Stage:
    def __init__(self, rig, folder, holder):
        self.rig, self.folder, self.holder, self.number = rig, folder, holder, 0
        self.capabilities = Capabilities("")

    def reset(self):
        """Another API key: nothing that was minted or failed before is remembered."""
        self.number += 1
        api_key = f"{API_KEY}-{self.number}"
        self.capabilities = Capabilities(api_key)
        (self.folder / "next").write_text(api_key)
        (self.folder / "next").rename(self.folder / "key")
        self.rig.provider.requests.clear()
        self.rig.provider.on("/mint", self.capabilities.mint)
        for path in ("/use", "/bound"):
            self.rig.provider.on(path, self.capabilities.use)

    def id(self, number):
        return f"{self.capabilities.name}-{number}"

    async def get(self, path="/use", method="GET", **options):
        return await self.rig.call(method, path, headers={"X-Any": self.rig.stand_in()}, **options)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole_stage():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "key").write_text(API_KEY)
        holder = key()
        account = {"secrets": {"api_key": f"file:{folder}/key"}, "keys": {"dpop": "env:DPOP"}}
        async with running_rig(
            folder,
            profiles={"example": PROFILE.replace("&plain", "").replace("REFUSALS", REFUSALS)},
            settings={"providers": {"example": {"accounts": {"main": account}}}},
            environment={"DPOP": json.dumps(holder.export(as_dict=True))},
            hosts=HOSTS,
        ) as rig:
            yield Stage(rig, folder, holder)


@pytest_asyncio.fixture(loop_scope="module")
async def stage(whole_stage):
    whole_stage.reset()
    return whole_stage


async def test_a_capability_serves_as_often_as_it_may_and_is_then_replaced(stage):
    for _ in range(4):
        assert (await stage.get()).status == 200
    assert stage.capabilities.used == {stage.id(0): 3, stage.id(1): 1}
    assert stage.capabilities.asked[0]["body"] == {"project": "alpha", "scope": ["read"], "nested": {"deep": ["alpha"]}}


async def test_p1_neither_the_capability_nor_the_key_reaches_the_agent(stage):
    answered = await stage.get()
    assert answered.status == 200
    everything = answered.body + str(answered.headers).encode()
    assert stage.capabilities.minted[0].encode() not in everything
    assert b"CANARY" not in everything
    calls = await stage.rig.settled(1)
    receipts = json.dumps([[call.decision, call.outcome] for call in calls])
    assert "CANARY" not in receipts
    assert stage.capabilities.minted[0] not in receipts
    assert any(
        c.decision["credential_kind"] == "capability" and len(c.decision["credential_token"]) == 24 for c in calls
    )


async def test_a_capability_without_a_number_of_calls_serves_until_it_ends(stage):
    stage.capabilities.caveats = {"max_calls": None}
    for _ in range(5):
        assert (await stage.get()).status == 200
    assert len(stage.capabilities.minted) == 1


async def test_an_exhausted_capability_is_replaced_unseen(stage):
    assert (await stage.get()).status == 200
    stage.capabilities.used[stage.id(0)] = 3  # somebody else counts too
    assert (await stage.get()).status == 200
    assert len(stage.capabilities.minted) == 2


async def test_a_replayed_capability_is_replaced_and_the_operator_is_told(stage, caplog):
    stage.capabilities.bound_to = stage.holder.thumbprint()
    assert (await stage.get("/bound")).status == 200
    stage.capabilities.replayed.add(stage.id(0))
    assert (await stage.get("/bound", method="POST", content=b"x")).status == 200
    assert len(stage.capabilities.minted) == 2
    assert "replayed" in caplog.text


@pytest.mark.parametrize("status", [401, 403])
async def test_p5_a_revoked_capability_is_not_replaced_behind_the_providers_back(stage, caplog, status):
    stage.capabilities.refuses_with = status
    assert (await stage.get()).status == 200
    stage.capabilities.revoked.add(stage.id(0))
    assert (await stage.get()).status == status
    count = len(stage.rig.provider.requests)
    assert (await stage.get()).problem == "credential_revoked"
    assert len(stage.rig.provider.requests) == count
    assert len(stage.capabilities.minted) == 1
    assert "revoked" in caplog.text


async def test_a_capability_that_is_bound_to_our_key_is_proved_each_time(stage):
    stage.capabilities.bound_to = stage.holder.thumbprint()
    for _ in range(2):
        assert (await stage.get("/bound")).status == 200
    assert len(stage.capabilities.proofs) == 2


@pytest.mark.parametrize(
    ("path", "bound_to", "caveats"),
    [
        ("/bound", None, {}), ("/bound", "A" * 43, {}), ("/use", "A" * 43, {}), ("/use", None, {"scope": "write"}),
        ("/use", None, {"scope": 7}), ("/use", None, {"aud": "https://other.test"}), ("/use", None, {"jti": None}),
        ("/use", None, {"exp": None}), ("/use", None, {"exp": 1}), ("/use", None, {"max_calls": 0}), ("/use", None, {"max_calls": "3"}),
        ("/use", None, {"cnf": {"x5t#S256": "x"}}),
    ],
)  # fmt: skip
async def test_p5_a_capability_that_does_not_fit_is_not_used(stage, path, bound_to, caveats):
    stage.capabilities.bound_to, stage.capabilities.caveats = bound_to, caveats
    assert (await stage.get(path)).problem == "credential_unavailable"
    assert stage.capabilities.used == {}


@pytest.mark.parametrize(
    "broken",
    [answer(500), answer(200, b"garbage"), answer(200, {}), answer(200, {"token": "x y"}), answer(200, b"x" * 400_000),
     answer(429, b"CANARY", Retry_After="3")],
)  # fmt: skip
async def test_p5_a_mint_endpoint_that_is_broken(stage, broken):
    stage.rig.provider.on("/mint", broken)
    refused = await stage.get()
    assert refused.problem == "token_endpoint_error"
    assert b"CANARY" not in refused.body
    asked = len(stage.rig.provider.requests)
    assert (await stage.get()).problem == "token_endpoint_error"
    assert len(stage.rig.provider.requests) == asked


async def test_a_capability_is_signed_by_the_keys_that_the_profile_gives():
    good, now = key("k"), int(time.time())
    token = signed(good, {"typ": "JWT", "kid": "k"}, {"jti": "a", "exp": now + 60})
    demands = Demands(now, frozenset(), None, None, (public(good),))
    assert caveats_of(token, demands).id == "a"
    with pytest.raises(BadTokenError):
        caveats_of(token, Demands(now, frozenset(), None, None, (public(key("k")),)))
