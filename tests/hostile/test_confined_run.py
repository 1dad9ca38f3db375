"""What a confined program can do to whoever runs it, with the real command."""

from __future__ import annotations

import asyncio
import sys

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
