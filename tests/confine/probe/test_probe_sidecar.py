"""Ways through and into a real sidecar, which runs inside a stage so that whatever it dials is counted there."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import time

import pytest
import yaml

from proxy.cli import run
from tests.confine.probe.stage import PROBE, ROOT, TIMEOUT_S, WITHOUT_RIGHTS, Checked

THROUGH = {"connect_address", "connect_local", "connect_metadata"}
ITS_OWN = {"state_directory", "database", "secret_files", "ca_key", "process_environment", "process_memory"}
PROXY = (sys.executable, "-m", "proxy")


def sidecar(stage, **settings):
    """`briefcased up` inside; the variables of an agent that has a token."""
    listeners = {"proxy": "127.0.0.1:8080", "control": "127.0.0.1:8081", **settings.pop("listeners", {})}
    config = stage.folder / "briefcased.yaml"
    config.write_text(yaml.safe_dump({"version": 1, "listeners": listeners, **settings}))
    added = stage.run(*PROXY, "agents", "add", "tester")
    assert added.returncode == 0, added.stderr
    process = subprocess.Popen(
        stage.command(*PROXY, "up", "--config", str(config), rights=False), env=stage.environment(), cwd=ROOT,
        stderr=(stage.folder / "log").open("wb"),
    )  # fmt: skip
    stage.extra.append(process)
    deadline = time.monotonic() + 60
    while not (stage.folder / "home" / "sidecar.json").exists():
        assert process.poll() is None, (stage.folder / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return {"HTTPS_PROXY": f"http://agent:{added.stdout.strip()}@127.0.0.1:8080"}


def hidden(stage, *command):
    """As a confined program would be: other processes, other directories, no rights."""
    home = stage.folder / "home"
    script = f'mount -t tmpfs tmpfs {home} && exec "$@"'
    return stage.command(
        "unshare", "--pid", "--fork", "--mount", "--mount-proc", "sh", "-c", script, "sh", *WITHOUT_RIGHTS, *command
    )


@pytest.mark.slow
def test_p1_a_sidecar_under_the_agent_s_own_user_is_open_and_one_that_is_hidden_is_closed(stage):
    agent = sidecar(stage)
    beside = stage.probe(**agent)
    assert beside.open() >= ITS_OWN | {"control_listener", "process_trace"}
    assert not beside.open() & THROUGH
    assert beside.seen("connect_metadata") == {"refused_by_proxy"}
    token = agent["HTTPS_PROXY"].split(":")[2].split("@")[0]
    assert token not in json.dumps(beside.report), "nothing that was read is in a report"

    stage.rules("add table inet c; add chain inet c o { type filter hook output priority 0; policy drop; };"
                " add rule inet c o oif lo tcp dport 8080 accept; add rule inet c o oif lo tcp sport 8080 accept")  # fmt: skip
    away = Checked.of(
        subprocess.run(
            hidden(stage, sys.executable, "-c", PROBE, TIMEOUT_S), env=stage.environment(**agent), capture_output=True,
            text=True, check=False, cwd=ROOT,
        )
    )  # fmt: skip
    assert away.open() == set()
    assert away.seen("connect_address") == {"refused_by_proxy"}, "the sidecar is still asked"
    assert away.seen("process_memory") == {"absent"}


@pytest.mark.slow
def test_a_sidecar_that_passes_everything_through_is_a_way_out_but_not_to_local_or_metadata_addresses(stage):
    agent = sidecar(stage, unmatched="pass", listeners={"control": "127.0.0.1:0"})
    stage.rules("add table inet c; add chain inet c o { type filter hook output priority 0; };"
                " add rule inet c o oif lo accept; add rule inet c o ip daddr != 1.1.1.1 drop")  # fmt: skip
    before = stage.counts()["accepted"]
    checked = stage.probe(**agent)
    assert "connect_address" in checked.open()
    assert not checked.open() & {"connect_local", "connect_metadata", "control_listener"}
    assert before.get("::ffff:1.1.1.1:443", 0) < stage.counts()["accepted"]["::ffff:1.1.1.1:443"]
    assert not any("169.254" in place for place in stage.counts()["packets"])


@pytest.mark.slow
@pytest.mark.parametrize("proxy", ["http://agent:wrong@127.0.0.1:8080", "http://127.0.0.1:8080"])
def test_without_a_token_nothing_is_known_about_what_the_sidecar_refuses(stage, proxy):
    sidecar(stage)
    checked = stage.probe(HTTPS_PROXY=proxy)
    assert "no_token" in checked.seen("connect_address") <= {"no_token", "refused_by_proxy"}, "it may be throttled"
    assert {checked.states()[way] for way in THROUGH} == {"unknown"}


@pytest.mark.slow
def test_p1_run_keeps_its_memory_to_itself_and_lets_nothing_through(stage):
    """The check as the child of `briefcased run`, which is not confined: the network is open, the sidecar is not."""
    inside = [*PROXY, "doctor", "--confinement", "--from-here", "--json", "--timeout", TIMEOUT_S]
    done = stage.run(*PROXY, "run", "--", *inside, rights=False, GITHUB_TOKEN="ghp_" + "a" * 36)
    checked = Checked.of(done)
    assert "tcp" in checked.open()
    assert checked.seen("process_memory") == checked.seen("process_environment") == {"not_permitted"}
    assert checked.states()["process_trace"] == "closed"
    assert checked.seen("connect_address") == {"refused_by_proxy"}
    assert done.returncode == 1


@pytest.mark.slow
def test_p1_a_confined_child_has_no_way_out_although_the_sidecar_has(stage):
    """The check without --from-here: inside `briefcased run --confine`, on a network where everything is open."""
    if "confine" not in inspect.signature(run.run).parameters:
        pytest.skip("this build has no `run --confine`")
    command = [*PROXY, "doctor", "--confinement", "--json", "--timeout", TIMEOUT_S]
    checked = Checked.of(stage.run(*command, GITHUB_TOKEN="ghp_" + "a" * 36))
    assert checked.open() == set()
    assert {way for way, state in checked.states().items() if state == "unknown"} <= THROUGH
    assert checked.code == 0
    assert stage.counts() == {"packets": {}, "accepted": {}}
