"""Gemini CLI's login with the shipped profile: captured, used, and refreshed by the sidecar with the client's secret."""

from __future__ import annotations

import pytest

from tests.answers.test_logins import Issuer
from tests.rig.shipped import shipped_text
from tests.rig.sidecar import running_rig

OAUTH, ASSIST = "oauth2.googleapis.com", "cloudcode-pa.googleapis.com"
SECRET = "GOCSPX-published-0123456789abcdef"


@pytest.fixture
async def rig(tmp_path):
    text = shipped_text("geminicli").replace(f"https://{OAUTH}/token\n", f"https://{OAUTH}:{{port}}/token\n", 1)
    settings = {"providers": {"geminicli": {"accounts": {"main": {"secrets": {"client_secret": "env:S"}}}}}}
    hosts = (OAUTH, ASSIST, "www.googleapis.com")
    async with running_rig(
        tmp_path, profiles={"geminicli": text}, settings=settings, environment={"S": SECRET}, hosts=hosts
    ) as running:
        yield running


async def test_p1_the_login_is_captured_and_refreshing_is_ours(rig):
    issuer = rig.provider.handlers["/token"] = Issuer(life_s=1, names=("access_token", "refresh_token"))
    token = f"https://{OAUTH}:{rig.provider.port}/token"
    code = {"grant_type": "authorization_code", "code": "code-1", "client_id": "x", "client_secret": SECRET}
    answer = await rig.call("POST", token, data=code)
    login = answer.json()
    assert answer.status == 200, login
    assert login["access_token"] == rig.stand_in("geminicli", "access_token")
    assert not any(real in str(login) for real in issuer.issued)
    again = await rig.call(
        "POST", token, data={**code, "grant_type": "refresh_token", "refresh_token": login["refresh_token"]}
    )
    assert again.json()["access_token"] == login["access_token"]
    assert len(issuer.calls) == 1
    content = f"https://{ASSIST}:{rig.provider.port}/v1internal:generateContent"
    answer = await rig.call("POST", content, json={}, headers={"Authorization": f"Bearer {login['access_token']}"})
    assert answer.status == 200
    assert rig.provider.requests[-1].one("authorization") == f"Bearer {issuer.issued[-2]}"  # of the refresh
    assert issuer.calls[-1]["client_secret"] == SECRET
    assert issuer.calls[-1]["grant_type"] == "refresh_token"
