"""`make soak` does not rot: every kind of client for a few seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "bench" / "soak.py"
KINDS = 6


@pytest.mark.slow
def test_p4_a_short_soak_passes_and_its_receipts_add_up(tmp_path):
    measured = tmp_path / "soak.json"
    # Memory is not flat in the first seconds; what is judged here is everything else.
    arguments = ["--minutes", "0.15", "--clients", "12", "--growth", "100", "--json", str(measured)]
    command = [sys.executable, str(SOAK), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.endswith("soak: ok\n")
    result = json.loads(measured.read_text())
    assert [kind["errors"] for kind in result["kinds"]] == [{}] * KINDS
    assert result["receipts"]["calls"] == result["receipts"]["expected"] > KINDS
    assert result["descriptors"]["peak"] > result["descriptors"]["base"]
