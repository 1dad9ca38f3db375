"""Tokens of workloads as secrets: `spiffe:` and `ghactions:`, presented as they are, and exchanged at a vendor."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import pytest_asyncio

from proxy.secretstore import SecretUnavailableError, bad_ref
from proxy.services import secret_stores
from proxy.settings import Settings
from tests.credentials.cloud.conftest import clean, told
from tests.fakes.tokens import answer
from tests.fakes.workload import ISSUER, Vendors
from tests.fakes.workload_api import IDENTITY, WorkloadApi
from tests.rig import Provider, running_rig
from tests.rig.provider import echo
from tests.rig.shipped import shipped_text
from tests.secretstore.benches import SetClock

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOSTS = ("api.openai.com", "auth.openai.com", "api.example.test", "actions.example.test")
AUDIENCE = "https://api.openai.com/v1"
ASK_WITH = "the-runners-own-token-0123456789"
DIRECT = """\
schema: 1
name: direct
title: Takes JWT-SVIDs as they are
docs: https://example.test/
checked: "2026-11-25"
hosts: [{{host: api.example.test, port: {port}}}]
secrets:
  svid: {{env: [SVID], stand_in: {{prefix: eyJ}}}}
credentials:
  svid: {{kind: header, prefix: "Bearer ", secret: svid}}
operations:
  - {{id: read, methods: [GET], path: "/**", action: read}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workloads(tmp_path_factory):
    api = WorkloadApi(tmp_path_factory.mktemp("wl") / "api.sock")
    api.start()
    yield api
    api.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def vendors():
    return Vendors()


class Actions:
    """The runner's service: a job's token for one audience, to whoever has the runner's own."""

    def __init__(self, vendors: Vendors) -> None:
        self.vendors, self.mood, self.audiences = vendors, "", []

    async def __call__(self, seen, reader, writer):
        query = parse_qs(urlsplit(seen.target).query)
        self.audiences.append(query["audience"][0])
        if seen.one("authorization") != f"Bearer {ASK_WITH}" or query["api-version"] != ["2.0"]:
            answer(writer, 401, {"message": "no"})
        elif self.mood:
            answer(writer, 200, self.mood.encode())
        else:
            answer(writer, 200, {"count": 1, "value": self.vendors.workload.token(query["audience"][0])})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory, workloads, vendors):
    folder = tmp_path_factory.mktemp("identity")
    provider = Provider(folder, HOSTS)
    await provider.start()
    vendors.serve(provider)
    provider.actions = Actions(vendors)
    provider.on("/token", provider.actions)

    async def takes_svid(seen, reader, writer):
        try:
            claims = jwt.decode(
                (seen.one("authorization") or "").removeprefix("Bearer "), workloads.key.public_key(),
                algorithms=["ES256"], audience="https://api.example.test",
            )  # fmt: skip
        except jwt.InvalidTokenError:
            answer(writer, 401, {"error": "svid"})
            return
        assert claims["sub"] == IDENTITY
        await echo(seen, reader, writer)

    provider.on("/svid", takes_svid)
    openai = {"identity_provider_id": "idp_1", "service_account_id": "user-1"}
    accounts = {"ci": {"secrets": {"identity_token": f"ghactions:{AUDIENCE}"}, "variables": openai}}
    settings = {
        "providers": {
            "openai": {"accounts": accounts},
            "direct": {"accounts": {"pod": {"secrets": {"svid": f"spiffe:https://api.example.test#{IDENTITY}"}}}},
        },
        "secret_stores": {"ghactions": {"ca_file": str(provider.root)}},
    }
    profiles = {
        "openai": shipped_text("openai").replace("https://auth.openai.com/", "https://auth.openai.com:{port}/"),
        "direct": DIRECT,
    }
    environment = {
        "SPIFFE_ENDPOINT_SOCKET": f"unix://{workloads.socket}",
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"https://actions.example.test:{provider.port}/token?api-version=2.0",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": ASK_WITH,
    }
    async with running_rig(
        folder, profiles=profiles, settings=settings, environment=environment, hosts=HOSTS, provider=provider
    ) as running:
        yield running
    await provider.stop()


async def test_p1_a_job_of_github_actions_calls_a_vendor_without_any_stored_key(rig, vendors):
    for _ in range(2):
        got = await rig.call("GET", f"https://api.openai.com:{rig.provider.port}/v1/models")
        assert got.status == 200, got.body
        clean(got.body, *vendors.live, ASK_WITH)
    assert set(rig.provider.actions.audiences) == {AUDIENCE}
    assert len(rig.provider.actions.audiences) == 1  # kept for half its life
    subject = vendors.bodies[-1]["subject_token"]
    assert jwt.decode(subject, options={"verify_signature": False})["iss"] == ISSUER
    assert subject.encode() not in rig.sidecar.scrubbed("tester", f"it was {subject}".encode())
    clean(await told(rig), subject, *vendors.live)


async def test_p1_a_jwt_svid_is_presented_as_it_is(rig, workloads):
    got = await rig.call("GET", f"https://api.example.test:{rig.provider.port}/svid")
    assert got.status == 200, got.body
    clean(got.body, rig.provider.last.one("authorization").removeprefix("Bearer "))
    assert workloads.asked[-1] == (["https://api.example.test"], IDENTITY)


def stores_of(folder, environment=None, clock=None, **sections):
    settings = Settings.model_validate_json(json.dumps({"version": 1, "secret_stores": sections}))
    return secret_stores(
        settings, home=folder, environment=environment or {}, clock=clock or SetClock(), passphrase=None
    )


async def failure(stores, ref):
    with pytest.raises(SecretUnavailableError) as failed:
        await stores.get(ref)
    return str(failed.value)


@pytest.mark.parametrize("mood", ["denied", "none", "garbage", "audience", "expired", "subject", "slow"])
async def test_p5_a_rude_workload_api_gives_no_secret(tmp_path, workloads, mood):
    workloads.mood = mood
    stores = stores_of(tmp_path, timeout_s=1.0, spiffe={"socket": f"unix:{workloads.socket}"})
    text = await failure(stores, "spiffe:https://api.example.test")
    workloads.mood = ""
    assert "elsewhere" not in text
    assert "the Workload API gave none" in text


async def test_p5_an_identity_of_another_trust_domain_or_of_another_workload_is_not_used(tmp_path, workloads):
    where = {"socket": f"unix:{workloads.socket}"}
    other = stores_of(tmp_path, spiffe={**where, "trust_domain": "gadgets.example"})
    assert "another trust domain" in await failure(other, "spiffe:aud")
    ours = stores_of(tmp_path, spiffe={**where, "trust_domain": "widgets.example"})
    assert (await ours.get("spiffe:aud")).reveal().startswith(b"eyJ")
    assert "another identity" in await failure(ours, "spiffe:aud#spiffe://widgets.example/agents/other")


async def test_a_jwt_svid_is_renewed_in_the_middle_of_its_life(tmp_path, workloads):
    clock = SetClock()
    stores = stores_of(tmp_path, clock=clock, spiffe={"socket": f"unix:{workloads.socket}"})
    first = await stores.get("spiffe:aud")
    clock.now_s += 140
    assert await stores.get("spiffe:aud") is first
    clock.now_s += 20
    assert await stores.get("spiffe:aud") != first


async def test_p5_without_a_workload_api_or_a_job_there_is_nothing(tmp_path):
    assert "SPIFFE_ENDPOINT_SOCKET" in await failure(stores_of(tmp_path), "spiffe:aud")
    gone = stores_of(tmp_path, {"SPIFFE_ENDPOINT_SOCKET": f"unix:{tmp_path}/none.sock"})
    assert "the Workload API gave none" in await failure(gone, "spiffe:aud")
    assert "no job of GitHub Actions" in await failure(stores_of(tmp_path), "ghactions:aud")


@pytest.mark.parametrize(
    "said", ["<rude>", "[]", "{}", '{"value": 5}', '{"value": "abc"}', '{"value": "a.e30.c-012345"}']
)
async def test_p5_a_rude_runner_gives_no_secret(tmp_path, rig, said):
    actions = rig.provider.actions
    actions.mood = said
    url = f"https://actions.example.test:{rig.provider.port}/token?api-version=2.0"
    environment = {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": ASK_WITH}
    settings = Settings.model_validate_json(
        json.dumps({"version": 1, "secret_stores": {"ghactions": {"ca_file": str(rig.provider.root)}}})
    )
    hosts = {"actions.example.test": ("127.0.0.1",)}
    stores = secret_stores(
        settings, home=tmp_path, environment=environment, clock=SetClock(), passphrase=None, hosts=hosts
    )
    assert said not in await failure(stores, "ghactions:aud")
    actions.mood = ""
    assert (await stores.get("ghactions:other")).reveal().startswith(b"eyJ")


async def test_refs():
    assert bad_ref("spiffe:https://api.example.test#spiffe://td/a/b") is None
    assert bad_ref("ghactions:sts.amazonaws.com") is None
    for ref in ("spiffe:", "spiffe:a b", "spiffe:a#b", "spiffe:a#spiffe://TD", "ghactions:a b", "ghactions:"):
        assert bad_ref(ref) is not None, ref


async def test_the_runners_own_token_is_taken_from_agents():
    from proxy.cli.variables import without_secrets

    clean_, taken = without_secrets({"ACTIONS_ID_TOKEN_REQUEST_TOKEN": ASK_WITH, "HOME": "/"}, {}, {})
    assert (clean_, taken) == ({"HOME": "/"}, ["ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
