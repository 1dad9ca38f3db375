"""`vault:` beyond the contract: versions, mounts, namespaces, logins, leases; and the fake against another client."""

from __future__ import annotations

import asyncio

import hvac
import orjson
import pytest

from proxy.secretstore import SecretUnavailableError, bad_ref
from proxy.services import secret_stores
from proxy.settings import Settings
from tests.fakes.stores.vault import FakeVault
from tests.secretstore.benches import SetClock

ROOT = "hvs.root-token-0123456789"
ROLE, SECRET = "the-role-id-0123456789", "the-secret-id-0123456789"
JWT = "eyJhbGciOiJSUzI1NiJ9.the-token-of-the-pod"


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
async def vault(tmp_path, clock):
    server = FakeVault(tmp_path, clock=clock.monotonic_s)
    await server.start()
    yield server
    await server.stop()


def stores_of(vault, clock, **section):
    own = {"address": vault.address, "ca_file": str(vault.provider.root), "auth": {"token": "env:TOKEN"}, **section}
    settings = Settings.model_validate_json(orjson.dumps({"version": 1, "secret_stores": {"vault": own}}))
    environment = {"TOKEN": ROOT, "ROLE": ROLE, "SECRET": SECRET, "JWT": JWT}
    return secret_stores(
        settings,
        home=vault.provider.folder,
        environment=environment,
        clock=clock,
        passphrase=None,
        hosts={vault.host: ("127.0.0.1",)},
    )


APPROLE = {"method": "approle", "role_id": "env:ROLE", "secret_id": "env:SECRET"}


def test_refs():
    for good in ("vault:kv/github#token", "vault:team/kv/a b/c@d.e#field.name", "vault:database/creds/app#password"):
        assert bad_ref(good) is None
    for bad in (
        "vault:kv#x",
        "vault:kv/x",
        "vault:kv/../sys/raw#x",
        "vault:kv//x#y",
        "vault:kv/x?y#z",
        "vault:kv/x%2e#z",
        "vault:/kv/x#y",
        "vault:kv/.#y",
    ):
        assert bad_ref(bad) is not None, bad


async def test_both_versions_of_kv_nested_mounts_and_namespaces(vault, clock):
    vault.values |= {"app#token": "value-of-the-app", "a b/c#token": "value-with-a-space"}
    vault.namespace = "team-a/sub"
    stores = stores_of(vault, clock, namespace="team-a/sub", mounts={"old": "kv1", "team/kv": "kv2"})
    for ref in ("vault:secret/app#token", "vault:old/app#token", "vault:team/kv/app#token"):
        assert (await stores.get(ref)).reveal() == b"value-of-the-app"
    assert (await stores.get("vault:secret/a b/c#token")).reveal() == b"value-with-a-space"
    with pytest.raises(SecretUnavailableError, match="404"):
        await stores_of(vault, clock).get("vault:secret/app#token")


@pytest.mark.parametrize(
    ("auth", "shown", "mount"),
    [
        (APPROLE, {"role_id": ROLE, "secret_id": SECRET}, "approle"),
        ({"method": "jwt", "role": "sidecar", "jwt": "env:JWT"}, {"role": "sidecar", "jwt": JWT}, "jwt"),
        ({"method": "kubernetes", "role": "sidecar", "jwt": "env:JWT", "mount": "cluster-1"}, {"role": "sidecar", "jwt": JWT}, "cluster-1"),
    ],
)  # fmt: skip
async def test_ways_to_log_in(vault, clock, auth, shown, mount):
    vault.values["app#token"] = "value-of-the-app"
    vault.known[mount] = shown
    stores = stores_of(vault, clock, auth=auth, ttl_s=0)
    for _ in range(2):
        assert (await stores.get("vault:secret/app#token")).reveal() == b"value-of-the-app"
    assert vault.logins == [(mount, shown)]
    await stores.close()
    assert len(vault.revoked) == 1  # the token that we were given
    vault.known[mount] = {"role": "another"}
    with pytest.raises(SecretUnavailableError) as failed:
        await stores_of(vault, clock, auth=auth).get("vault:secret/app#token")
    assert "400" in str(failed.value)


async def test_a_token_is_renewed_and_one_that_was_revoked_is_replaced(vault, clock):
    vault.values["app#token"] = "value-of-the-app"
    vault.known["approle"] = {"role_id": ROLE, "secret_id": SECRET}
    stores = stores_of(vault, clock, auth=APPROLE, ttl_s=0)
    await stores.get("vault:secret/app#token")
    clock.now_s += 3300
    await stores.get("vault:secret/app#token")
    assert (len(vault.logins), len(vault.renewals)) == (1, 1)
    del vault.tokens[vault.renewals[0]]
    await stores.get("vault:secret/app#token")
    assert len(vault.logins) == 2


async def test_a_refusal_of_one_secret_does_not_cost_the_token(vault, clock):
    vault.values |= {"app#token": "value-of-the-app", "other#token": "value-of-the-other"}
    vault.known["approle"] = {"role_id": ROLE, "secret_id": SECRET}
    vault.forbidden.add("other")
    stores = stores_of(vault, clock, auth=APPROLE, ttl_s=0)
    await stores.get("vault:secret/app#token")
    with pytest.raises(SecretUnavailableError, match="403"):
        await stores.get("vault:secret/other#token")
    assert len(vault.logins) == 1


def leasing(vault, clock, **more):
    vault.known["approle"] = {"role_id": ROLE, "secret_id": SECRET}
    return stores_of(vault, clock, auth=APPROLE, mounts={"database": "dynamic"}, **more)


async def test_fields_of_a_lease_belong_together_and_it_is_renewed_while_it_is_used(vault, clock):
    stores = leasing(vault, clock)
    user, password = await asyncio.gather(
        stores.get("vault:database/creds/app#username"), stores.get("vault:database/creds/app#password")
    )
    (lease,) = vault.leases
    assert vault.leases[lease]["password"] == password.reveal().decode()
    assert user.reveal().startswith(b"v-app-")
    for _ in range(5):
        clock.now_s += 500  # a lease has 600
        assert await stores.get("vault:database/creds/app#password") == password
    assert vault.questions == 1
    assert vault.renewals == [lease] * 5
    await stores.close()
    assert lease not in vault.revoked  # the token is, and its leases with it
    assert len(vault.revoked) == 1
    assert vault.leases == {}


async def test_a_lease_outlives_the_token_that_made_it_neither_here_nor_there(vault, clock):
    """Nothing else is asked for meanwhile: the lease alone has to keep its token alive, and to notice its end."""
    vault.lease_ttl_s, vault.token_ttl_s = 86_400, 1000
    stores = leasing(vault, clock, ttl_s=86_400)
    first = await stores.get("vault:database/creds/app#password")
    for _ in range(40):
        clock.now_s += 90
        assert (await stores.get("vault:database/creds/app#password")).reveal().decode() in vault.living()
    assert await stores.get("vault:database/creds/app#password") == first
    clock.now_s += 1001  # longer than the token has
    second = (await stores.get("vault:database/creds/app#password")).reveal()
    assert second != first.reveal()
    assert second.decode() in vault.living()


async def test_while_vault_is_down_a_lease_serves_on_and_is_not_asked_for_at_every_use(vault, clock):
    stores = leasing(vault, clock, ttl_s=60)
    first = await stores.get("vault:database/creds/app#password")
    clock.now_s += 410  # it is due, and so is nothing else
    vault.rude = "down"
    for _ in range(15):
        clock.now_s += 10
        assert await stores.get("vault:database/creds/app#password") == first
    assert len([seen for seen in vault.provider.requests if seen.path.endswith("/renew")]) == 2
    clock.now_s += 110
    with pytest.raises(SecretUnavailableError):
        await stores.get("vault:database/creds/app#password")


async def test_a_token_that_cannot_be_replaced_yet_serves_until_its_end(vault, clock):
    vault.values["app#token"] = "value-of-the-app"
    vault.known["approle"] = {"role_id": ROLE, "secret_id": SECRET}
    stores = leasing(vault, clock, ttl_s=0)
    first = await stores.get("vault:database/creds/app#password")
    vault.lease_ttl_s = 100_000
    clock.now_s += 599
    await stores.get("vault:database/creds/app#password")  # renewed for long
    clock.now_s += 2700
    vault.rude = "down"  # the token is due
    for _ in range(5):
        assert await stores.get("vault:database/creds/app#password") == first
    assert len([seen for seen in vault.provider.requests if seen.path.endswith(("/login", "/renew-self"))]) == 3
    clock.now_s += 301
    with pytest.raises(SecretUnavailableError):
        await stores.get("vault:database/creds/app#password")


async def test_leases_of_a_token_that_cannot_be_revoked_are_revoked_one_by_one(vault, clock):
    stores = leasing(vault, clock)
    await stores.get("vault:database/creds/app#password")
    await stores.get("vault:database/creds/other#password")
    vault.batch = set(vault.tokens)
    leases = list(vault.leases)
    await stores.close()
    assert sorted(vault.revoked) == sorted(leases)
    assert vault.leases == {}


async def test_leases_of_the_operators_token_are_revoked_and_the_token_is_not(vault, clock):
    stores = stores_of(vault, clock, mounts={"database": "dynamic"})
    await stores.get("vault:database/creds/app#password")
    (lease,) = vault.leases
    await stores.close()
    assert vault.revoked == [lease]
    assert ROOT in vault.tokens


async def test_a_lease_that_cannot_be_renewed_further_is_replaced_before_it_ends(vault, clock):
    vault.lease_max_s = 1000
    stores = leasing(vault, clock)
    first = await stores.get("vault:database/creds/app#password")
    for _ in range(12):
        clock.now_s += 100
        served = await stores.get("vault:database/creds/app#password")
        alive = {lease["password"] for lease in vault.leases.values() if lease["until_s"] > clock.now_s}
        assert served.reveal().decode() in alive
    assert served != first


async def test_a_lease_that_nobody_used_is_not_served_after_its_end(vault, clock):
    stores = leasing(vault, clock, ttl_s=86_400, stale_s=86_400)
    first = await stores.get("vault:database/creds/app#password")
    clock.now_s += 700
    second = await stores.get("vault:database/creds/app#password")
    assert second != first
    vault.rude = "down"
    clock.now_s += 700
    with pytest.raises(SecretUnavailableError):
        await stores.get("vault:database/creds/app#password")


async def test_leases_end_with_the_token_that_made_them(vault, clock):
    stores = leasing(vault, clock, ttl_s=0)
    first = await stores.get("vault:database/creds/app#password")
    for token in [name for name in vault.tokens if name != ROOT]:
        del vault.tokens[token]
    vault.values["app#token"] = "value-of-the-app"
    await stores.get("vault:secret/app#token")  # which finds that the token has ended
    assert len(vault.logins) == 2
    assert await stores.get("vault:database/creds/app#password") != first  # although it is not due


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")  # the fake's root is nobody's
async def test_another_client_finds_a_vault_in_the_fake(vault):
    """hvac reads, logs in and renews as we do: the fake has the shape of the real thing."""
    vault.values["app#token"] = "value-of-the-app"
    vault.known["approle"] = {"role_id": ROLE, "secret_id": SECRET}

    def ask():
        client = hvac.Client(f"https://127.0.0.1:{vault.provider.port}", verify=False)
        client.auth.approle.login(ROLE, SECRET)
        kv = client.secrets.kv
        found = [kv.v2.read_secret_version("app", raise_on_deleted_version=True)["data"]["data"]]
        found.append(kv.v1.read_secret("app", mount_point="old")["data"])
        lent = client.secrets.database.generate_credentials("app")
        renewed = client.sys.renew_lease(lent["lease_id"])
        client.sys.revoke_lease(lent["lease_id"])
        client.auth.token.renew_self()
        client.auth.token.lookup_self()
        client.auth.token.revoke_self()
        return found, renewed["lease_duration"]

    found, duration = await asyncio.to_thread(ask)
    assert found == [{"token": "value-of-the-app"}] * 2
    assert 590 <= duration <= 600
