"""What a confined program can do to whoever runs it, with the real command."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx
import pytest

from tests.confine.conftest import REASON, ROOT
from tests.rig.program import clean_environment, ended, started

pytestmark = pytest.mark.skipif(REASON is not None, reason=f"no user namespaces: {REASON}")
RUN = f"{sys.executable} -m proxy run"
SECRETS = ("openai-key", "github-key", "proxy-user", "proxy-password")
CONFIGURATION = """\
version: 1
providers:
  openai: {{accounts: {{main: {{secrets: {{api_key: "file:{0}/openai-key"}}}}}}}}
  github: {{accounts: {{main: {{secrets: {{token: "file:{0}/github-key"}}}}}}}}
egress:
  upstream_proxy: {{url: "http://127.0.0.1:3", username: "file:{0}/proxy-user", password: "file:{0}/proxy-password"}}
"""


async def shell(folder, line):
    environment = clean_environment(folder) | {"PYTHONPATH": str(ROOT), "BRIEFCASED_HOME": f"{folder}/state"}
    return await ended(await started("sh", "-c", line, env=environment, cwd=folder, session=True))


async def test_p1_no_file_with_a_secret_can_be_read(tmp_path):
    """Neither the upstream proxy's, nor that of a provider that this run leaves out."""
    for name in SECRETS:
        (tmp_path / name).write_text(f"REAL-{name}")
    (tmp_path / "c.yaml").write_text(CONFIGURATION.format(tmp_path))
    ran = await shell(tmp_path, f"{RUN} --config c.yaml --allow openai --confine -- cat {' '.join(SECRETS)} /etc/hosts")
    assert "localhost" in ran.out, ran.err
    assert "REAL" not in ran.out + ran.err


@pytest.mark.slow
async def test_a_signal_to_its_group_ends_the_program_alone(tmp_path):
    held = "OPENAI_API_KEY=sk-proj-REAL0123456789abcdefghijklmnopqr"
    ran = await shell(tmp_path, f"{held} {RUN} --confine -- sh -c 'kill -9 0'; echo it gave $?")
    assert ran.out == "it gave 137\n", ran.err
    assert "receipts in chain" in ran.err


@pytest.mark.slow
async def test_p1_a_secret_that_is_replaced_meanwhile_stays_out_of_sight(tmp_path):
    """The kernel takes away what covers a file when that is replaced from outside: rename(2)."""
    keys, agent = tmp_path / "keys", tmp_path / "agent"
    keys.mkdir()
    agent.mkdir()
    for name in SECRETS:
        (keys / name).write_text(f"REAL-{name}")
    (agent / "c.yaml").write_text(CONFIGURATION.format(keys))
    program = f"touch started; until test -e replaced; do sleep 0.05; done; cat {keys}/openai-key; ls -A {keys}"
    running = asyncio.ensure_future(shell(agent, f'{RUN} --config c.yaml --confine -- sh -c "{program}"'))
    async with asyncio.timeout(30):
        while not (agent / "started").exists():  # another process says so
            await asyncio.sleep(0.05)
    (keys / "new").write_text("REAL-new")
    (keys / "new").rename(keys / "openai-key")
    (agent / "replaced").touch()
    ran = await running
    assert "receipts in chain" in ran.err
    assert ran.out == "", ran.err


ASKS = """touch begun; while [ ! -e ports ]; do sleep 0.1; done
for port in $(cat ports); do for host in 127.0.0.1 localhost 10.0.0.1; do for path in healthz metrics; do
curl -s -o /dev/null -w '%{http_code} ' --noproxy '*' --max-time 3 http://$host:$port/$path
curl -s -o /dev/null -w '%{http_code} ' --max-time 3 http://$host:$port/$path
done; done; done; true
"""


@pytest.mark.slow
async def test_h_10_no_control_listener_is_reached_from_a_confined_program(tmp_path):
    """H-10: neither its own sidecar's nor another's, by address or by name, past the proxy or through it."""
    (tmp_path / "asks").write_text(ASKS)
    environment = clean_environment(tmp_path) | {"PYTHONPATH": str(ROOT), "BRIEFCASED_HOME": f"{tmp_path}/state"}
    (tmp_path / "c.yaml").write_text("version: 1\n")
    line = f"{RUN} --config c.yaml --confine -- sh asks"
    running = await started("sh", "-c", line, env=environment, cwd=tmp_path, session=True)
    async with asyncio.timeout(30):
        while not (tmp_path / "begun").exists():
            await asyncio.sleep(0.05)
    healthy = [port for port in listening() if await asyncio.to_thread(is_healthy, port)]
    assert healthy, "its control listener answers out here"
    (tmp_path / "draft").write_text(" ".join(map(str, healthy)))
    (tmp_path / "draft").rename(tmp_path / "ports")
    ran = await ended(running)
    statuses = ran.out.split()
    assert len(statuses) == len(healthy) * 12, ran.err
    assert not [status for status in statuses if status.startswith(("2", "3"))], statuses


def listening():
    """Ports of IPv4 loopback on which somebody listens, of this network namespace (proc_net_tcp)."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(row[1].partition(":")[2], 16) for row in rows if row[3] == "0A" and row[1].startswith("0100007F")]


def is_healthy(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=2, trust_env=False).text == '{"status":"ok"}'
    except httpx.HTTPError:
        return False
