"""P1, P5: an agent's call is served with a secret that rests in a Vault, and sees nothing of it or of the login."""

from __future__ import annotations

import pytest

from tests.fakes.stores.vault import FakeVault
from tests.rig.sidecar import HOSTS, accounts, running_rig

VALUE, OTHER = "the-value-that-rests-in-vault", "the-value-after-its-rotation"
ROLE, SECRET = "the-role-id-0123456789", "the-secret-id-0123456789"


@pytest.fixture
async def vault(tmp_path):
    folder = tmp_path / "vault"
    folder.mkdir()
    server = FakeVault(folder)
    await server.start()
    server.values["agents/example#key"] = VALUE
    server.known["approle"] = {"role_id": ROLE, "secret_id": SECRET}
    yield server
    await server.stop()


def settings(vault, **more):
    auth = {"method": "approle", "role_id": "env:ROLE", "secret_id": "env:SECRET"}
    own = {"address": vault.address, "ca_file": str(vault.provider.root), "auth": auth, **more}
    return {
        "providers": {"example": accounts(api_key="vault:secret/agents/example#key"), "other": accounts(token="env:OTHER_TOKEN")},
        "secret_stores": {"failed_s": 0, "vault": own},
    }  # fmt: skip


def rig_for(folder, vault, **more):
    resolve = {**dict.fromkeys(HOSTS, ("127.0.0.1",)), vault.host: ("127.0.0.1",)}
    environment = {"ROLE": ROLE, "SECRET": SECRET}
    return running_rig(folder, settings=settings(vault, **more), resolve=resolve, environment=environment)


async def test_p1_a_secret_of_a_vault_reaches_the_provider_and_nobody_else(tmp_path, vault, caplog):
    async with rig_for(tmp_path, vault, ttl_s=0) as rig:
        answer = await rig.call("GET", "/x")
        assert rig.provider.last.one("authorization") == f"Bearer {VALUE}"
        vault.values["agents/example#key"] = OTHER
        rotated = await rig.call("GET", "/x")
        assert rig.provider.last.one("authorization") == f"Bearer {OTHER}"
        vault.rude = "down"
        denied = await rig.call("GET", "/x")
        assert (denied.status, denied.problem) == (502, "credential_unavailable")
        receipts = await rig.settled(3)
        vault.rude = None
    token = next(name for name in vault.revoked)  # the login's own, at the end
    everything = "".join(map(repr, (answer, rotated, denied, receipts))) + caplog.text
    everything += (answer.body + rotated.body + denied.body).decode()
    for canary in (VALUE, OTHER, ROLE, SECRET, token, "sealed"):
        assert canary not in everything
    assert token not in vault.tokens
