"""Two sidecars on one database: what one captures the other knows soon, and what is removed neither uses any more."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from tests.answers.capturing import ADMIN, API, ENVIRONMENT, FRESH, RIG, created, reply
from tests.answers.test_logins import CODER, Issuer
from tests.rig.postgres import PASSWORD, found, postgres
from tests.rig.provider import Provider
from tests.rig.sidecar import running_rig

LOGIN, CODER_API = "login.coder.test", "api.coder.test"
HOSTS = (*RIG["hosts"], LOGIN, CODER_API)
PROVIDERS = {**RIG["settings"]["providers"], "coder": {"accounts": {"main": {"credentials": ["login"]}}}}


@contextlib.asynccontextmanager
async def two(folder, state=None):
    """Two sidecars: with one state directory, or with one database that `state` names."""
    provider = Provider(folder, HOSTS)
    await provider.start()
    folders = [folder / "one", folder / "two"]
    for each in folders:
        each.mkdir(exist_ok=True)
    (folders[0] / "home").mkdir(exist_ok=True)
    if state is None and not (folders[1] / "home").exists():
        (folders[1] / "home").symlink_to(folders[0] / "home")
    settings = {"providers": PROVIDERS, **({} if state is None else {"state": state})}
    environment = {**ENVIRONMENT, "PG": PASSWORD, "SEAL": "s" * 32}
    profiles = {**RIG["profiles"], "coder": CODER}
    given = {**RIG, "profiles": profiles, "settings": settings, "environment": environment, "hosts": HOSTS}
    try:
        async with (
            running_rig(folders[0], provider=provider, **given) as one,
            running_rig(folders[1], provider=provider, **given) as other,
        ):
            yield one, other
    finally:
        await provider.stop()


def url(rig, path, host=API):
    return f"https://{host}:{rig.provider.port}{path}"


async def until(rig, expected, path="/v1/x", host=API, **headers):
    """Call until the provider sees `expected`, or the agent gets it as the problem; at most some seconds."""
    seen = None
    async with asyncio.timeout(8):
        while True:
            before = len(rig.provider.requests)
            answer = await rig.call("GET", url(rig, path, host), headers=headers)
            arrived = rig.provider.requests[before:]
            seen = arrived[-1].head.decode() if arrived else f"{answer.problem}"
            if expected in seen:
                return answer
            await asyncio.sleep(0.1)


async def a_key_is_shared_and_removed(one, other):
    one.provider.answers("/admin/keys", reply(created()))
    stand_in = (await one.call("POST", url(one, "/admin/keys"), json={})).json()["data"]["key"]
    assert stand_in.startswith("wk-")
    answer = await until(other, FRESH, **{"x-widgets-key": stand_in})
    assert FRESH not in answer.body.decode()  # the provider echoes it, and this sidecar knows what to look for
    assert stand_in in answer.body.decode()
    (row,) = one.sidecar._keeper.listed()
    assert (row.agent, row.account, row.slot) == ("tester", "widgets/main", "key")
    assert await asyncio.to_thread(other.sidecar._keeper.remove, row.id)
    assert not await asyncio.to_thread(one.sidecar._keeper.remove, row.id)
    for rig in (other, one):
        await until(rig, "credential_unavailable", **{"x-widgets-key": stand_in})
    await until(one, ADMIN)  # without the removed key, the account's own serves as before
    return stand_in


async def test_p5_p6_two_sidecars_on_one_file(tmp_path):
    async with two(tmp_path) as (one, other):
        await a_key_is_shared_and_removed(one, other)


@pytest.mark.slow
async def test_p5_a_removed_key_is_refused_after_a_restart(tmp_path):
    async with two(tmp_path) as (one, other):
        stand_in = await a_key_is_shared_and_removed(one, other)
    async with two(tmp_path) as (one, _):  # not served with what the account has
        answer = await one.call("GET", url(one, "/v1/x"), headers={"x-widgets-key": stand_in})
        assert answer.problem == "credential_unavailable"


async def a_login_is_shared_and_removed(one, other):
    one.provider.handlers["/oauth/token"] = issuer = Issuer(names=("access_token", "refresh_token"))
    form = {"grant_type": "authorization_code", "code": "code-1", "client_id": "coder-cli"}
    login = (await one.call("POST", url(one, "/oauth/token", LOGIN), json=form)).json()
    bearer = {"authorization": f"Bearer {login['access_token']}"}
    real = issuer.issued[0]
    answer = await until(other, real, host=CODER_API, **bearer)
    assert real not in answer.body.decode()
    (key,) = [key for key in other.sidecar._keeper._own if key.agent == "tester"]
    assert await asyncio.to_thread(other.sidecar._keeper._grants.forget, key)
    for rig in (one, other):
        await until(rig, "not_connected", host=CODER_API, **bearer)


@pytest.mark.slow
async def test_p6_a_login_on_one_file(tmp_path):
    async with two(tmp_path) as pair:
        await a_login_is_shared_and_removed(*pair)


@pytest.mark.slow
@pytest.mark.skipif(found("initdb") is None, reason="no PostgreSQL here")
async def test_p5_p6_two_sidecars_on_postgresql(tmp_path):
    with postgres() as server:
        state = {"shared": server.settings(), "seal_key": "env:SEAL"}
        async with two(tmp_path, json.loads(json.dumps(state))) as pair:
            await a_key_is_shared_and_removed(*pair)
            await a_login_is_shared_and_removed(*pair)
