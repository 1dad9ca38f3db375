"""What an operator sees of policies that are only observed, with a sidecar in a process of its own."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml

from proxy.cli.receipts import line
from proxy.db.engine import DATABASE, open_database
from proxy.receipts import queries
from tests.control.conftest import controlled
from tests.rig.process import HOST, configured

if TYPE_CHECKING:
    from pathlib import Path


async def test_readiness_and_receipts_tell_observed_policies(tmp_path: Path) -> None:
    async with controlled(tmp_path, policies={"preset": "read-only", "observe": True}) as rig:
        await rig.call("GET", "/read")
        await rig.call("POST", "/written", content=b"x")
        await rig.settled(2)
        assert rig.sidecar.details()["policies"] == "observed"
        database = open_database(rig.home / DATABASE)
        (call,) = queries.recent(database, limit=10, observed=True)
        database.dispose()
        assert call.decision["path"] == "/written"
        assert line(call).endswith("(observed: policy_denied)")


@pytest.mark.slow
async def test_up_readyz_and_receipts_say_that_policies_are_only_observed(tmp_path: Path) -> None:
    async with configured(tmp_path) as up:
        data = yaml.safe_load(up.config.read_text())
        data["policies"] = {"preset": "read-only", "observe": True}
        up.config.write_text(yaml.safe_dump(data))
        await up.start()
        assert "policies are only observed" in (tmp_path / "log").read_text()
        trust = ssl.create_default_context(cafile=str(up.home / "ca-bundle.pem"))
        address = f"{up.address[0]}:{up.address[1]}"
        proxy = f"http://agent:{up.token}@{address}"
        async with httpx.AsyncClient(proxy=proxy, verify=trust, trust_env=False, timeout=20) as client:
            base = f"https://{HOST}:{up.provider.port}"
            assert (await client.get(f"{base}/read")).status_code == 200
            assert (await client.post(f"{base}/written", content=b"x")).status_code == 200
        async with httpx.AsyncClient(trust_env=False) as client:
            ready = (await client.get(f"http://{up.state['control']}/readyz")).json()
        assert ready["details"]["policies"] == "observed"
        told = up.command("receipts", "list", "--observed", "--json")
        (call,) = [json.loads(line) for line in told.stdout.splitlines()]
        assert (call["decision"]["observed"], call["decision"]["path"]) == ("policy_denied", "/written")
        assert "(observed: policy_denied)" in up.command("receipts", "list").stdout
