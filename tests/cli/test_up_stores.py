"""`briefcased up` opens its secret stores once for all who need them, and gives back what they have lent."""

from __future__ import annotations

import asyncio
import signal
import ssl
import subprocess

import httpx
import pytest
import yaml

from tests.fakes.stores.vault import FakeVault
from tests.rig.process import HOST, configured
from tests.rig.program import assert_unseen
from tests.rig.sidecar import KEY

ROLE, SECRET = "the-role-id-0123456789", "the-secret-id-0123456789"
SELF_SIGNED = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=Company -keyout ca.key -out ca.pem -addext keyUsage=critical,keyCertSign,cRLSign"


@pytest.fixture
async def vault(tmp_path):
    folder = tmp_path / "vault"
    folder.mkdir()
    server = FakeVault(folder, HOST)
    await server.start()
    server.known["approle"] = {"role_id": ROLE, "secret_id": SECRET}
    yield server
    await server.stop()


@pytest.mark.slow
async def test_one_login_serves_the_ca_and_the_accounts_and_is_given_back_at_the_end(tmp_path, vault):
    await asyncio.to_thread(subprocess.run, ["openssl", *SELF_SIGNED.split()], cwd=tmp_path, check=True, capture_output=True)  # fmt: skip
    vault.values |= {"ca#key": (tmp_path / "ca.key").read_text(), "example#key": KEY}
    (tmp_path / "role").write_text(ROLE)
    (tmp_path / "login").write_text(SECRET)
    auth = {"method": "approle", "role_id": f"file:{tmp_path}/role", "secret_id": f"file:{tmp_path}/login"}
    own = {"address": vault.address, "ca_file": str(vault.provider.root), "auth": auth}
    async with configured(tmp_path) as up:
        settings = yaml.safe_load(up.config.read_text())
        settings["providers"]["example"]["accounts"]["main"]["secrets"]["api_key"] = "vault:secret/example#key"
        settings["secret_stores"] = {"vault": own}
        settings["certificates"] = {
            "issuer_certificate": str(tmp_path / "ca.pem"),
            "issuer_key": "vault:secret/ca#key",
        }
        up.config.write_text(yaml.safe_dump(settings))
        await up.start()
        host, port = up.address
        trust = ssl.create_default_context(cafile=str(up.home / "ca-bundle.pem"))
        proxy = f"http://agent:{up.token}@{host}:{port}"
        async with httpx.AsyncClient(proxy=proxy, verify=trust, timeout=30, trust_env=False) as agent:
            answer = await agent.get(f"https://{HOST}:{up.provider.port}/x")
        assert answer.status_code == 200
        assert up.provider.last.one("authorization") == f"Bearer {KEY}"
        (login,) = vault.logins
        assert vault.revoked == []
        assert await up.kill(signal.SIGTERM) == 0
    assert len(vault.revoked) == 1
    assert vault.revoked[0] not in vault.tokens
    assert_unseen(answer.text + (tmp_path / "log").read_text(), KEY, SECRET, vault.revoked[0])
