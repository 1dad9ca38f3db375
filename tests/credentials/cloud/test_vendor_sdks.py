"""The vendors' own SDKs at the same fakes: what they post is what we post, so the fakes were not made to fit us."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.workload import Vendors
from tests.rig import Provider, running_rig
from tests.rig.shipped import shipped_text

OPENAI = {"identity_provider_id": "idp_1", "service_account_id": "user-1"}
ANTHROPIC = {
    "federation_rule_id": "fdrl_1",
    "organization_id": "3c0ffee0-0000-4000-8000-000000000001",
    "service_account_id": "svac_1",
    "workspace_id": "default",
}
HOSTS = ("localhost", "api.openai.com", "auth.openai.com", "api.anthropic.com")


def by_openai(token: str, url: str) -> str:
    from openai.auth import WorkloadIdentityAuth

    identity = {**OPENAI, "provider": {"token_type": "jwt", "get_token": lambda: token}}
    return WorkloadIdentityAuth(workload_identity=identity, token_exchange_url=f"{url}/oauth/token").get_token()


def by_anthropic(token: str, url: str) -> str:
    from anthropic.lib.credentials import exchange_federation_assertion

    return exchange_federation_assertion(assertion=token, base_url=url, **ANTHROPIC).token


@pytest.mark.slow  # the SDKs take their time to load
@pytest.mark.parametrize(("name", "path", "audience", "variables", "by_sdk"), [
    ("openai", "/oauth/token", "https://api.openai.com/v1", OPENAI, by_openai),
    ("anthropic", "/v1/oauth/token", "https://api.anthropic.com", ANTHROPIC, by_anthropic),
])  # fmt: skip
async def test_the_exchange_is_the_one_of_the_vendors_sdk(
    tmp_path, monkeypatch, name, path, audience, variables, by_sdk
):
    vendors, provider = Vendors(), Provider(tmp_path, HOSTS)
    await provider.start()
    vendors.serve(provider)
    token = vendors.workload.token(audience)
    (tmp_path / "jwt").write_text(token)
    account = {"secrets": {"identity_token": f"file:{tmp_path / 'jwt'}"}, "variables": variables}
    profile = shipped_text(name)
    for host in ("auth.openai.com", "api.anthropic.com"):
        profile = profile.replace(f"token_url: https://{host}/", f"token_url: https://{host}:{{port}}/")
    settings = {"providers": {name: {"accounts": {"main": account}}}}
    async with running_rig(
        tmp_path, profiles={name: profile}, settings=settings, hosts=HOSTS, provider=provider
    ) as rig:
        got = await rig.call("GET", f"https://api.{name}.com:{provider.port}/v1/models")
        assert got.status == 200, got.body
        monkeypatch.setenv("SSL_CERT_FILE", str(provider.root))
        theirs = await asyncio.to_thread(by_sdk, token, f"https://localhost:{provider.port}")
    assert theirs in vendors.live
    ours, sdk = vendors.bodies
    assert ours == sdk
    sent = [seen for seen in provider.requests if seen.path == path]
    assert len(sent) == 2
    assert sent[0].one("anthropic-beta") == sent[1].one("anthropic-beta")
    assert sent[0].one("authorization") == sent[1].one("authorization")
    await provider.stop()
