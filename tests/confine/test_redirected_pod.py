"""A pod in transparent mode: after `briefcased redirect` a process without capabilities finds no way out."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from proxy.confine.probe.ways import WAYS

WORLD = "ip link set lo up; ip link add v0 type veth peer name v1; ip addr add 10.77.0.2/24 dev v0; ip link set v1 up; ip link set v0 up; ip route add default dev v0; "
REDIRECT = '"$0" -m proxy redirect --to 8082 --except-uid 65532 --dns-port 8053; '
CHECK = (
    "exec setpriv --inh-caps=-all --bounding-set=-all --no-new-privs "
    '"$0" -m proxy doctor --confinement --from-here --json --timeout 1'
)
UNTRIED = {"connect_address", "connect_local", "connect_metadata"}  # the sidecar does not run yet


def checked(folder, script):
    """The states that the check reports, by way."""
    done = subprocess.run(
        ["unshare", "-Urnpi", "--fork", "--mount-proc", "sh", "-ec", script, sys.executable],
        env={"PATH": "/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin", "BRIEFCASED_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "unshare failed" in done.stderr:
        pytest.skip(done.stderr)
    states = {}
    for attempt in json.loads(done.stdout)["attempts"]:
        states.setdefault(attempt["way"], set()).add(attempt["state"])
    return states


def test_p2_a_redirected_pod_has_no_way_out_before_its_sidecar_runs(tmp_path):
    states = checked(tmp_path, WORLD + REDIRECT + CHECK)
    assert states.keys() == set(WAYS)
    assert {way for way, found in states.items() if "open" in found} == set()
    assert {way for way, found in states.items() if "unknown" in found} == UNTRIED


@pytest.mark.slow
def test_without_the_rules_the_check_does_not_say_closed(tmp_path):
    states = checked(tmp_path, WORLD + CHECK)
    assert states["tcp"] != {"closed"}
