"""P1: the environment block of `briefcased run` is put away before anything else happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.handover import MARK

ROOT = Path(__file__).parents[1]
SCRIPT = """
import ctypes, json, os, sys
from proxy.handover import hand_over
hand_over()
hand_over()
print(json.dumps({
    "block": open("/proc/self/environ", errors="surrogateescape").read(),
    "environment": dict(os.environ),
    "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
    "descriptors": sorted(map(int, os.listdir("/proc/self/fd"))),
    "arguments": sys.argv,
    "pid": os.getpid(),
}))
"""
SECRET = "s3cret-value-of-the-operator"


def handed(environment: dict[str, str], script: str = SCRIPT) -> subprocess.CompletedProcess[str]:
    own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", script, "an argument"]
    return subprocess.run(
        command, env={**own, **environment}, capture_output=True, text=True, timeout=20, check=False,
        pass_fds=(), stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize(
    "further",
    [{}, {"LARGE": "x" * 100_000, "MORE": "y" * 100_000}, {"LINES": "a=b\nc=d", "EMPTY": ""}, {"ODD": "\udcff"}],
    ids=["few", "more than a pipe holds", "odd forms", "not text"],
)
def test_p1_the_block_is_empty_and_the_variables_are_there(further):
    ran = handed({"TOKEN": SECRET, "PYTHON_TOKEN": SECRET, **further})
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert SECRET not in said["block"]
    assert {**further, "TOKEN": SECRET}.items() <= said["environment"].items()
    assert MARK not in said["environment"]
    assert said["arguments"] == ["-c", "an argument"]


def test_p1_no_other_process_of_the_user_may_read_the_memory():
    said = json.loads(handed({}).stdout)
    assert said["dumpable"] == 0


def test_p7_no_descriptor_is_left_open():
    said = json.loads(handed({}).stdout)
    assert said["descriptors"][:3] == [0, 1, 2]
    assert len(said["descriptors"]) == 4  # the listing itself


@pytest.mark.parametrize("mark", ["7", "0", "x", "-1", "99999999999999999999"])
def test_p5_a_mark_that_is_not_ours_is_refused(mark):
    ran = handed({MARK: mark, "TOKEN": SECRET})
    assert ran.returncode == 1
    assert "HandoverError" in ran.stderr
    assert SECRET not in ran.stdout + ran.stderr


TRUNCATED = """
import os
reading, writing = os.pipe()
os.write(writing, (100).to_bytes(8) + b"A=b\\0")
os.close(writing)
os.environ["BRIEFCASED_HANDOVER_FD"] = str(reading)
from proxy.handover import hand_over
hand_over()
"""


def test_p5_an_environment_that_did_not_arrive_whole_is_refused():
    ran = handed({}, TRUNCATED)
    assert ran.returncode == 1
    assert "did not arrive whole" in ran.stderr
