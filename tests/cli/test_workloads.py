"""`briefcased up` for an agent that nobody added: its platform's token says who it is."""

from __future__ import annotations

import ssl
import time

import httpx
import pytest
import yaml

from tests.fakes.issuer import AUDIENCE, ISSUER, JwksServer, new_key, token
from tests.rig.process import HOST, configured
from tests.rig.program import assert_unseen
from tests.rig.sidecar import KEY

MATCH = "system:serviceaccount:agents:{agent}"


@pytest.mark.slow
async def test_a_service_accounts_token_is_all_that_an_agent_needs(tmp_path):
    key = new_key("RS256", "one")
    async with configured(tmp_path) as up:
        (tmp_path / "jwks.json").write_bytes(JwksServer([key]).published())
        settings = yaml.safe_load(up.config.read_text())
        settings["agents"]["coder"] = {"accounts": ["example/main"]}
        issuer = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": "jwks.json", "agent": {"match": MATCH}}
        up.config.write_text(yaml.safe_dump({**settings, "identity": {"tokens": [issuer]}}))
        await up.start()
        now = time.time()
        good, other = (
            token(key, "RS256", now=now),
            token(key, "RS256", now=now, sub="system:serviceaccount:other:coder"),
        )
        url = f"https://{HOST}:{up.provider.port}/x"
        async with _agent(up, good) as agent:
            assert (await agent.get(url)).status_code == 200
        assert up.provider.last.one("authorization") == f"Bearer {KEY}"
        async with _agent(up, up.token) as agent:  # and the sidecar's own tokens go on working
            assert (await agent.get(url)).status_code == 200
        async with _agent(up, other) as agent:
            with pytest.raises(httpx.ProxyError, match="407"):
                await agent.get(url)
        await up.kill()
        listed = up.command("receipts", "list", "--json")
        assert listed.returncode == 0, listed.stderr
        assert '"agent":"coder"' in listed.stdout.replace(": ", ":")
        assert_unseen(listed.stdout + (tmp_path / "log").read_text(), good, other)


def _agent(up, text):
    host, port = up.address
    trust = ssl.create_default_context(cafile=str(up.home / "ca-bundle.pem"))
    return httpx.AsyncClient(proxy=f"http://agent:{text}@{host}:{port}", verify=trust, timeout=30, trust_env=False)
