"""Ways out over the machine: sockets, rights, namespaces. Each once open and once closed, inside a stage."""

from __future__ import annotations

import subprocess
import sys

import pytest

from proxy.confine.probe.places import abstract_names
from proxy.confine.probe.processes import is_sidecar
from tests.confine.probe.stage import PROBE, ROOT, TIMEOUT_S, WITHOUT_RIGHTS, Checked, entering

LISTENS = """
import os, socket, sys
from pathlib import Path
kept = []
for path in sys.argv[1:]:
    if not path.startswith("@"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    made = socket.socket(socket.AF_UNIX)
    made.bind("\\0" + path[1:] if path.startswith("@") else path)
    made.listen()
    kept.append(made)
print("ready", flush=True)
sys.stdin.read()
"""
UNIX = {"container_engine", "ssh_agent", "dbus", "control_socket", "abstract_socket"}


def variables(stage):
    folder = stage.folder
    return {"SSH_AUTH_SOCK": f"{folder}/agent.sock", "DBUS_SESSION_BUS_ADDRESS": f"unix:path={folder}/bus,guid=1"}


def listening(stage):
    folder = stage.folder
    paths = [f"{folder}/agent.sock", f"{folder}/bus", f"{folder}/home/control.sock", "/run/docker.sock", "@somebody"]
    stage.start(LISTENS, *paths)
    return paths


def test_sockets_that_take_a_connection_are_open_and_named(stage):
    listening(stage)
    checked = stage.probe(**variables(stage))
    assert checked.open() >= UNIX
    targets = {e["target"] for e in checked.report["attempts"] if e["way"] in UNIX and e["state"] == "open"}
    assert {path for path in targets if path.startswith(("/run", "/var/run"))} in (
        {"/run/docker.sock"},
        {"/var/run/docker.sock"},
    )
    assert "@somebody" in targets
    assert f"{stage.folder}/home/control.sock" in targets


def test_sockets_that_are_not_there_or_let_nobody_in_are_closed(stage):
    assert not stage.probe(**variables(stage)).open() & UNIX
    paths = listening(stage)
    stage.run("chmod", "000", *paths[:-1])
    checked = stage.probe(**variables(stage))
    assert checked.open() & UNIX == {"abstract_socket"}, "an abstract socket has no mode"
    assert checked.seen("ssh_agent") == {"not_permitted"}
    for process in stage.extra:
        process.stdin.close()
        process.wait()
    checked = stage.probe(rights=True, **variables(stage))
    assert checked.seen("ssh_agent") == {"nobody_listens"}, "the file is there still"
    assert not checked.open() & UNIX


def test_an_abstract_socket_of_another_network_namespace_is_closed(stage):
    listener = subprocess.Popen(
        [*entering(stage.outside), sys.executable, "-c", LISTENS, "@somebody"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    stage.extra.append(listener)
    assert listener.stdout.readline()
    assert stage.probe().states()["abstract_socket"] == "closed"


def test_rights_over_a_network_that_leads_out_are_open(stage):
    checked = stage.probe(rights=True)
    assert {"net_admin", "packet_socket"} <= checked.open()
    assert not {"net_admin", "packet_socket"} & stage.probe().open()


def test_rights_over_a_network_that_leads_nowhere_are_harmless(stage):
    """All capabilities, and rules of one's own to remove, but only loopback."""
    assert stage.run("ip", "link", "del", "eth0").returncode == 0
    checked = stage.probe(rights=True)
    assert checked.seen("net_admin") == checked.seen("packet_socket") == {"harmless"}
    assert checked.open() == set()


def test_capabilities_in_a_user_namespace_of_one_s_own_say_nothing_about_the_network_outside_it(stage):
    command = [
        *stage.command("unshare", "--user", "--map-root-user"),
        sys.executable,
        "-c",
        PROBE,
        TIMEOUT_S,
    ]
    done = subprocess.run(command, env=stage.environment(), capture_output=True, text=True, check=False, cwd=ROOT)
    checked = Checked.of(done)
    assert checked.seen("net_admin") == {"not_held"}
    assert checked.states()["user_namespace"] == "closed"


@pytest.mark.slow
@pytest.mark.parametrize(("rights", "state"), [(True, "open"), pytest.param(False, "closed", marks=pytest.mark.slow)])
def test_the_network_of_a_process_that_can_be_seen_and_joined_is_open(stage, rights, state):
    """Inside the agent's network, but with the processes of the world outside in sight."""
    command = ["nsenter", "-t", str(stage.outside), "-U", "-m", "-p", "--preserve-credentials"]
    command += ["nsenter", f"--net=/proc/{stage.inside_as_seen_outside}/ns/net"]
    command += [*(() if rights else WITHOUT_RIGHTS), sys.executable, "-c", PROBE, TIMEOUT_S]
    done = subprocess.run(command, env=stage.environment(), capture_output=True, text=True, check=False, cwd=ROOT)
    checked = Checked.of(done)
    assert checked.states()["other_namespace"] == state
    assert all(
        e["target"].endswith("/ns/net")
        for e in checked.report["attempts"]
        if e["state"] == "open" and e["way"] == "other_namespace"
    )


def test_abstract_names_are_those_that_somebody_listens_on():
    table = (
        "Num       RefCount Protocol Flags    Type St Inode Path\n"
        "0000: 00000002 00000000 00010000 0001 01 11 @listens with a space\n"
        "0000: 00000003 00000000 00000000 0001 03 12 @connected\n"
        "0000: 00000002 00000000 00010000 0001 01 13 /run/path.sock\n"
        "0000: 00000002 00000000 00010000 0001 01 14\n"
    )
    assert abstract_names(table) == ["@listens with a space"]


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("/venv/bin/python /venv/bin/briefcased up -c x", True),
        ("briefcased run -- claude", True),
        ("python -m proxy up", True),
        ("python -m proxy doctor --confinement", False),
        ("python -m proxies up", False),
        ("briefcased", False),
    ],
)
def test_a_sidecar_is_known_by_its_command_line(line, ours):
    assert is_sidecar([*line.encode().split(), b""]) is ours
