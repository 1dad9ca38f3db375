"""A-27: name servers that lose questions or never answer. The machine's resolver is asked, in namespaces of the test's own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("unshare", "ip", "mount")), reason="unshare, ip and mount are needed"
)
STAGE = """\
ip link set lo up && touch "$2" && mount --bind "$2" /etc/resolv.conf && exec "$1" -m tests.egress.names_stage "$2"
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    described = tmp_path_factory.mktemp("names") / "resolv.conf"
    command = ("unshare", "-Urnm", "sh", "-ec", STAGE, "sh", sys.executable, str(described))
    began_s = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "unshare failed" in done.stderr:
        pytest.skip("this machine gives no namespaces")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return {**json.loads(done.stdout), "ended_s": time.monotonic() - began_s}


def test_a27_while_no_server_is_there_the_question_is_asked_again(found):
    """As where a container's name server starts anew because another container came."""
    assert found["early"]["said"] == ["93.184.216.34"]


def test_a27_a_question_that_is_lost_is_asked_again_while_there_is_time(found):
    assert found["lost"]["said"] == ["93.184.216.34"]
    assert found["lost"]["took_s"] < 2.5


def test_a27_what_nobody_answers_ends_in_time(found):
    assert {said for one in found["never"] for said in one["said"]} == {"upstream_unreachable"}
    assert max(one["took_s"] for one in found["never"]) < 3.5


def test_n14_names_that_nobody_answers_keep_nothing_else_waiting(found):
    """N-14: the threads that databases and receipts are written in are others."""
    assert found["threads_took_s"] < 1


def test_p7_the_names_of_one_agent_keep_no_other_agents_waiting(found):
    assert found["other"]["said"] == ["93.184.216.34"]
    assert found["other"]["took_s"] < 1


def test_the_process_ends_without_waiting_for_questions_that_nobody_answers(found):
    """The system's resolver gives up after ten seconds."""
    assert found["ended_s"] < 9
