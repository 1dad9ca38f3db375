"""J-19: a process that is killed loses no question and no answer, and approves nothing that nobody approved."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "crasher.py"


@pytest.mark.parametrize("points", [8, pytest.param(500, marks=pytest.mark.slow)])
def test_j_19_kill_at_any_point(tmp_path: Path, points: int) -> None:
    command = [sys.executable, str(PROGRAM), str(tmp_path), str(points), "19"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.startswith(f"{points} kills, "), run.stdout
