"""The shipped profiles of three vendors without any stored key, towards exchanges as the vendors document them."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.credentials.cloud.conftest import clean, refused_politely
from tests.fakes.workload import Vendors
from tests.rig import running_rig
from tests.rig.shipped import shipped_text

pytestmark = pytest.mark.asyncio(loop_scope="module")
VENDORS = {
    "openai": ("api.openai.com", "/v1/models", "https://auth.openai.com/oauth/token", "https://api.openai.com/v1",
               {"identity_provider_id": "idp_1", "service_account_id": "user-1"}),
    "anthropic": ("api.anthropic.com", "/v1/models", "https://api.anthropic.com/v1/oauth/token", "https://api.anthropic.com",
                  {"federation_rule_id": "fdrl_1", "organization_id": "3c0ffee0-0000-4000-8000-000000000001",
                   "service_account_id": "svac_1"}),
    "openrouter": ("openrouter.ai", "/api/v1/models", "https://openrouter.ai/api/v1/oauth/token", "https://openrouter.ai",
                   {"federation_policy_id": "4b2f7d1e-8c3a-4e5f-9a6b-1c2d3e4f5a6b"}),
}  # fmt: skip
HOSTS = ("api.openai.com", "auth.openai.com", "api.anthropic.com", "openrouter.ai")
MOODS = ("empty", "down")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def vendors():
    return Vendors()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory, vendors):
    folder = tmp_path_factory.mktemp("vendors")
    providers, agents, profiles = {}, {}, {}
    for name, (_, _, url, audience, variables) in VENDORS.items():
        tokens = {
            "good": vendors.workload.token(audience),
            "expired": vendors.workload.token(audience, exp=1_700_000_000),
            "audience": vendors.workload.token("https://elsewhere.test"),
            "subject": vendors.workload.token(audience, sub="system:serviceaccount:agents:mallory"),
            "rotated": vendors.workload.token(audience),
            **({f"mood-{mood}": vendors.workload.token(audience) for mood in MOODS} if name == "openai" else {}),
        }
        accounts = {}
        for case, token in tokens.items():
            path = folder / f"{name}-{case}"
            path.write_text(token)
            accounts[case] = {"secrets": {"identity_token": f"file:{path}"}, "variables": variables}
            agents[f"{name}-{case}"] = (f"{name}/{case}",)
        providers[name] = {"accounts": accounts}
        host, slash, path = url.removeprefix("https://").partition("/")
        profiles[name] = shipped_text(name).replace(f"token_url: {url}", f"token_url: https://{host}:{{port}}/{path}")
    async with running_rig(
        folder, profiles=profiles, settings={"providers": providers}, agents=agents, hosts=HOSTS
    ) as running:
        vendors.serve(running.provider)
        yield running


def url(rig, name):
    host, path, *_ = VENDORS[name]
    return f"https://{host}:{rig.provider.port}{path}"


@pytest.mark.parametrize("name", VENDORS)
async def test_p1_a_workload_calls_a_vendor_without_any_stored_key(rig, vendors, name):
    async with rig.client(f"{name}-good") as client:
        for _ in range(2):
            answer = await client.get(url(rig, name))
            assert answer.status_code == 200, answer.content
            clean(answer.content, *vendors.live, (rig.home.parent / f"{name}-good").read_text())
    sent = rig.provider.last.one("authorization")
    assert sent.removeprefix("Bearer ") in vendors.live
    if name == "anthropic":
        assert rig.provider.last.one("anthropic-beta") == "oauth-2025-04-20"
        assert rig.provider.last.one("x-api-key") is None
        assert "workspace_id" not in vendors.bodies[-1]
    decision = (await rig.settled(1))[-1].decision
    assert (decision["account"], decision["credential_kind"]) == (f"{name}/good", "workload_federation")


@pytest.mark.parametrize("name", VENDORS)
@pytest.mark.parametrize("case", ["expired", "audience", "subject"])
async def test_p5_a_token_that_the_vendor_does_not_trust_gives_nothing(rig, name, case):
    answer = await rig.call("GET", url(rig, name), agent=f"{name}-{case}")
    assert answer.problem == "credential_revoked"
    clean(answer.body, "the token is not trusted")


async def test_a_new_workload_token_is_exchanged_anew(rig, vendors):
    agent, file = "openai-rotated", rig.home.parent / "openai-rotated"
    assert (await rig.call("GET", url(rig, "openai"), agent=agent)).status == 200
    before = len(vendors.bodies)
    draft = file.with_suffix(".new")
    draft.write_text(vendors.workload.token("https://api.openai.com/v1"))
    draft.rename(file)  # as the kubelet does
    assert (await rig.call("GET", url(rig, "openai"), agent=agent)).status == 200
    assert [body["subject_token"] for body in vendors.bodies[before:]] == [file.read_text()]


@pytest.mark.parametrize("mood", MOODS)
async def test_p1_p5_a_rude_exchange_gives_a_refusal_and_none_of_its_words(rig, vendors, mood):
    await refused_politely(rig, vendors, url(rig, "openai"), f"openai-mood-{mood}", mood)
