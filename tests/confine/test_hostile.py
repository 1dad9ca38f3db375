"""A program that tries every way out, in a world whose forbidden places count who comes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.confine.conftest import ROOT
from tests.rig.program import clean_environment, ended, started

STAGE = Path(__file__).parent / "programs" / "stage.py"
REFUSED = {
    "unshare user", "setns", "setns own", "unshare program", "nsenter program", "clone with a user namespace", "clone3",
    "io_uring", "keyctl", "nft flush", "nft list", "ip route", "ip link", "briefcased rules", "umount", "umount proc", "mount",
    "core pattern", "namespaces allowed", "raw socket", "packet socket", "ping socket", "vsock", "bluetooth",
    "ptrace init", "memory of init", "files of init", "signal to others", "environ of others", "state",
}  # fmt: skip
"""Ways that must give an error."""


async def played(folder: Path, how: str) -> dict[str, Any]:
    environment = {**clean_environment(folder), "PYTHONPATH": str(ROOT)}
    command = ("unshare", "-Urnm", "--map-root-user", sys.executable, str(STAGE), str(folder), how)
    ran = await ended(await started(*command, env=environment, cwd=folder))
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


async def test_no_way_leads_out(tmp_path):
    seen = await played(tmp_path, "confined")
    assert seen["code"] == 0
    assert seen["hits"] == {}
    ways = seen["ways"]
    worked = {name for name in REFUSED if ways[name] in {"done", "read", "True", "0"} or ways[name].startswith("<")}
    assert worked == set()
    assert ways["file ref"] == "empty"
    assert ways["environ of anybody"] == "False"
    assert ways["open files"] == "4"  # the fourth is the directory that is listed
    assert not {name for name, gave in ways.items() if name.startswith("unix") and gave == "connected"}
    assert {name for _, _, name in seen["origins"]} == {"None"}
    reached = {(host, port) for host, port, _ in seen["origins"]}
    assert {("169.254.169.254", "80"), ("8.8.8.8", "443"), ("2001:db8::7", "22")} <= reached


async def test_the_same_attack_without_confinement_succeeds(tmp_path):
    """Or else the test above would prove nothing."""
    seen = await played(tmp_path, "free")
    assert len(seen["hits"]) == 8 + 6 + 4, seen["hits"]
    assert seen["ways"]["environ of others"] == "True"
    assert seen["ways"]["file ref"] == "secret-of-a-file-ref"
    assert seen["ways"]["nft flush"] == seen["ways"]["unshare program"] == "done"
