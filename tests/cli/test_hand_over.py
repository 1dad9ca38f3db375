"""`agents.NAME.hand_over`: an agent that knows nothing but a directory calls its provider through the sidecar."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat

import pytest
import yaml

from tests.fakes.demands import demanding
from tests.rig.process import HOST, configured
from tests.rig.program import assert_unseen, clean_environment, ended, started
from tests.rig.sidecar import KEY

FILES = {"ca.pem": 0o644, "ca-bundle.pem": 0o644, "token": 0o640, "stand-ins.json": 0o640, "env.sh": 0o640}


@pytest.fixture
def shared(tmp_path):
    return tmp_path / "shared"


@pytest.fixture
async def up(tmp_path, shared):
    """A running sidecar whose configuration hands over to `coder`, an agent that nobody added."""
    folder = tmp_path / "up"
    folder.mkdir()
    async with configured(folder) as sidecar:
        handing(sidecar, shared, proxy=f"127.0.0.1:{free_port()}")
        await sidecar.start()
        yield sidecar


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def handing(up, directory, *, proxy=None, **more):
    data = yaml.safe_load(up.config.read_text())
    proxy = data["listeners"]["proxy"] = proxy or data["listeners"]["proxy"]
    data["agents"] = {"coder": {"accounts": ["*"], "hand_over": {"directory": str(directory), "proxy": proxy}}, **more}
    up.config.write_text(yaml.safe_dump(data))


async def restarted(up):
    await up.kill(signal.SIGTERM)
    await up.start()


async def call(up, shared, folder):
    """A shell that sources the file, and curl, which is told nothing else."""
    script = (
        f'. {shared}/env.sh && curl -sS -o /dev/null -w "%{{http_code}}" -H "Authorization: Bearer $EXAMPLE_API_KEY" '
    )
    url = f"https://{HOST}:{up.provider.port}/v1/things/1"
    script += f'--noproxy "" {url}'
    return await ended(await started("sh", "-c", script, env=clean_environment(folder), cwd=folder))


async def test_p1_an_agent_that_sources_the_file_gets_its_answer_and_never_the_key(up, shared, tmp_path):
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in shared.iterdir()} == FILES
    up.provider.on("/v1/things/1", demanding("authorization", f"Bearer {KEY}"))
    done = await call(up, shared, tmp_path)
    assert done.out == "200", done.err
    for name in FILES:
        assert_unseen((shared / name).read_text(), KEY)
    (held,) = json.loads((shared / "stand-ins.json").read_text())
    assert held["account"] == "example/main"
    assert f"EXAMPLE_API_KEY={held['stand_in']}" in (shared / "env.sh").read_text()


@pytest.mark.slow
async def test_a_restart_keeps_a_valid_token_and_replaces_any_other(up, beside, shared, tmp_path):
    first = (shared / "token").read_text()
    await restarted(up)
    assert (shared / "token").read_text() == first, "running agents go on"
    other = json.loads((await beside.run("agents", "add", "other", "--json")).out)["token"]
    (shared / "token").write_text(other)
    await restarted(up)
    assert (shared / "token").read_text().strip() not in (first.strip(), other), (
        "another agent's token is no token of ours"
    )
    (shared / "token").unlink()
    (shared / "token").symlink_to(up.home / "sidecar.json")
    await restarted(up)
    assert not (shared / "token").is_symlink()
    assert (await call(up, shared, tmp_path)).out == "200"


@pytest.mark.slow
async def test_p1_a_revoked_agent_is_handed_nothing_until_it_is_added_again(up, beside, shared, tmp_path):
    assert (await beside.run("agents", "revoke", "coder")).code == 0
    await restarted(up)
    assert {path.name for path in shared.iterdir()} == {"ca.pem", "ca-bundle.pem"}
    assert "agent coder is revoked" in (up.folder / "log").read_text()
    assert (await beside.run("agents", "add", "coder")).code == 0
    await restarted(up)
    assert (await call(up, shared, tmp_path)).out == "200"


@pytest.mark.slow
async def test_a_reload_hands_over_to_an_agent_that_it_adds(up, beside, shared, tmp_path):
    second = tmp_path / "second"
    entry = {"accounts": ["example/main"], "hand_over": {"directory": str(second), "proxy": up.state["proxy"]}}
    handing(up, shared, second=entry)
    done = await beside.run("reload", "--config", str(up.config))
    assert done.code == 0, done.err
    answered = await call(up, second, tmp_path)
    assert answered.out == "200", answered.err
    assert "EXAMPLE_API_KEY=" in (second / "env.sh").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["", *(pytest.param(one, marks=pytest.mark.slow) for one in ("ca", ".."))])
async def test_p1_a_directory_in_which_an_agent_would_see_our_state_is_refused(up, beside, place):
    handing(up, up.home / place)
    refused = await beside.run("reload", "--config", str(up.config))
    assert refused.code == 1
    assert "must lie outside the state directory" in refused.err
    assert (await asyncio.to_thread(up.command, "health")).returncode == 0, "the old configuration stays"


@pytest.mark.slow
async def test_mistakes_are_found_before_the_start(up, shared):
    entry = {"accounts": [], "hand_over": {"directory": str(shared), "proxy": "sidecar:0"}}
    handing(up, shared, second=entry)
    found = await asyncio.to_thread(up.command, "check", "--config", str(up.config))
    assert found.returncode == 2
    assert "agents.second.hand_over.directory: another agent has this directory" in found.stderr
    assert "agents.second.hand_over.proxy: an address is HOST:PORT" in found.stderr


@pytest.mark.slow
async def test_health_says_what_the_control_listener_says(up, beside):
    ready = await beside.run("health")
    assert (ready.code, ready.out) == (0, "ready\n"), ready.err
    told = await beside.run("health", "--json")
    assert told.code == 0
    assert json.loads(told.out)["checks"]["receipts_writable"] is True
    assert (await beside.run("health", "--live")).out == "running\n"
    assert up.process is not None
    os.kill(up.process.pid, signal.SIGSTOP)
    try:
        stuck = await beside.run("health")
    finally:
        os.kill(up.process.pid, signal.SIGCONT)
    assert stuck.code == 1
    assert "does not answer" in stuck.err
    await up.kill(signal.SIGTERM)
    gone = await beside.run("health")
    assert gone.code == 1
    assert "no sidecar runs" in gone.err
