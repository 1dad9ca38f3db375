"""H-11: processes by names that are not used again."""

from __future__ import annotations

import os
import sys

import pytest

from proxy.cli.agent_tokens import _peer
from proxy.errors import BriefcaseError
from proxy.identity import processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other kernels tell no process")


def test_a_process_is_named_by_its_number_and_its_start() -> None:
    own = processes.name_of(os.getpid())
    assert own is not None
    assert processes.lineage_of(os.getpid())[0] == own
    assert processes.lives(own)
    assert not processes.lives(own + "1")
    assert processes.name_of(2**22 + 1) is None
    assert processes.lineage_of(0) == ()


def test_the_command_line_names_a_process_by_its_start_too() -> None:
    assert _peer(f"process:{os.getpid()}") == processes.name_of(os.getpid())
    assert _peer("uid:7") == "uid:7"
    with pytest.raises(BriefcaseError, match="no process 4194305"):
        _peer("process:4194305")
