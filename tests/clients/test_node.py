"""Node: a tunnel by hand everywhere, and `fetch` where it reads the proxy variables."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.clients.client import PROGRAMS
from tests.fakes.demands import demanding
from tests.rig.sidecar import KEY

FETCH_READS_ENVIRONMENT = 24


def programs() -> list[str]:
    """What this machine's Node can do. Without Node the tunnel is still asked for, and fails."""
    node = shutil.which("node")
    if node is None:
        return ["tunnel.mjs"]
    version = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout
    can_fetch = int(version.lstrip("v").partition(".")[0]) >= FETCH_READS_ENVIRONMENT
    return ["tunnel.mjs", "fetch.mjs"] if can_fetch else ["tunnel.mjs"]


@pytest.mark.parametrize("program", programs())
async def test_p1_node(rig, client, program):
    rig.provider.on("/v1/things", demanding("authorization", f"Bearer {KEY}"))
    stand_in = rig.stand_in()
    ended = await client.run("node", str(PROGRAMS / program), f"{rig.base}/v1/things", EXAMPLE_API_KEY=stand_in)
    assert ended.code == 0, ended.err
    status, _, body = ended.out.partition(" ")
    assert status == "200", body
    assert dict(json.loads(body)["headers"])["authorization"] == f"Bearer {stand_in}"
    assert rig.provider.last.all("authorization") == [f"Bearer {KEY}"]
    assert rig.provider.last.body == b"from node"
