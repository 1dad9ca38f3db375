"""P2: which addresses a store may be at, and the way to it through an upstream proxy, whose password rests elsewhere."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from proxy.secretstore import SecretUnavailableError
from proxy.services import secret_stores
from proxy.settings import Settings
from tests.fakes.stores.vault import FakeVault
from tests.fakes.upstream_proxy import PASSWORD, USER, UpstreamProxy
from tests.secretstore.benches import SetClock

ROOT = "hvs.root-token-0123456789"
ENVIRONMENT = {"TOKEN": ROOT, "USER": USER, "PASSWORD": PASSWORD}


@pytest.fixture
async def vault(tmp_path):
    server = FakeVault(tmp_path)
    await server.start()
    server.values["app#token"] = "value-of-the-app"
    yield server
    await server.stop()


def stores_of(folder, hosts=None, own_listeners=frozenset, egress=None, **sections):
    data = {"version": 1, "secret_stores": sections, "egress": egress or {}}
    return secret_stores(
        Settings.model_validate_json(orjson.dumps(data)),
        home=folder,
        environment=ENVIRONMENT,
        clock=SetClock(),
        passphrase=None,
        hosts=hosts or {},
        own_listeners=own_listeners,
    )


def section(vault):
    return {"address": vault.address, "ca_file": str(vault.provider.root), "auth": {"token": "env:TOKEN"}}


async def failure(stores, ref):
    with pytest.raises(SecretUnavailableError) as failed:
        await stores.get(ref)
    return str(failed.value)


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fd00:ec2::254", "0.0.0.0", "::ffff:169.254.169.254", "224.0.0.1"]
)
async def test_a_store_that_the_operator_names_is_never_at_a_metadata_or_reserved_address(tmp_path, vault, address):
    stores = stores_of(tmp_path, {vault.host: ("127.0.0.1", address)}, vault=section(vault))
    assert "forbidden address" in await failure(stores, "vault:secret/app#token")
    assert vault.provider.attempts == len(vault.provider.requests) == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254"])
@pytest.mark.parametrize("host", ["secretmanager.googleapis.com", "oauth2.googleapis.com"])
async def test_a_vendors_own_host_is_at_a_public_address(tmp_path, vault, host, address):
    google = {"auth": {"method": "federation", "audience": "x", "subject_token": "env:TOKEN"}}
    hosts = dict.fromkeys(("sts.googleapis.com", host), (address,))
    assert "forbidden address" in await failure(stores_of(tmp_path, hosts, gcpsm=google), "gcpsm:my-project/x")


async def test_a_store_is_never_one_of_our_own_listeners(tmp_path, vault):
    listening = frozenset({("127.0.0.1", vault.provider.port)})
    stores = stores_of(tmp_path, {vault.host: ("127.0.0.1",)}, lambda: listening, vault=section(vault))
    assert "forbidden address" in await failure(stores, "vault:secret/app#token")


async def test_the_way_to_a_store_goes_through_the_upstream_proxy_unless_it_is_bypassed(tmp_path, vault):
    async with UpstreamProxy("http", {vault.host: "127.0.0.1"}, login=True) as proxy:
        entry = {"url": f"http://127.0.0.1:{proxy.port}", "username": "env:USER", "password": "env:PASSWORD"}
        stores = stores_of(tmp_path, egress={"upstream_proxy": entry}, vault=section(vault))
        assert (await stores.get("vault:secret/app#token")).reveal() == b"value-of-the-app"
        assert len(proxy.targets) == 1
        direct = {"upstream_proxy": entry | {"no_proxy": [vault.host]}}
        stores = stores_of(tmp_path, {vault.host: ("127.0.0.1",)}, egress=direct, vault=section(vault))
        assert (await stores.get("vault:secret/app#token")).reveal() == b"value-of-the-app"
        assert len(proxy.targets) == 1


async def test_p5_a_password_that_rests_behind_the_proxy_itself_does_not_go_in_circles(tmp_path, vault):
    async with UpstreamProxy("http", {vault.host: "127.0.0.1"}, login=True) as proxy:
        entry = {"url": f"http://127.0.0.1:{proxy.port}", "username": "env:USER", "password": "vault:secret/app#token"}
        stores = stores_of(tmp_path, egress={"upstream_proxy": entry}, vault=section(vault))
        async with asyncio.timeout(5):
            assert "upstream proxy cannot be used" in await failure(stores, "vault:secret/app#token")
        assert proxy.targets == []
