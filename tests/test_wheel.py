"""The wheel holds everything that runs: three packages, the profiles, the migrations."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_an_installed_wheel_finds_its_profiles_and_migrations(tmp_path):
    built = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(built, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import proxy, pathlib; from proxy.catalog.loader import load_profiles, shipped;"
        "from proxy.db.engine import open_database;"
        "print(proxy.__file__); print(len(load_profiles([shipped()])));"
        f"open_database(pathlib.Path({str(tmp_path / 'x.db')!r})).dispose(); print('ok')"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    where, count, ok = run.stdout.split()
    assert where.startswith(str(tmp_path / "site"))
    assert int(count) == len(list((ROOT / "profiles").glob("*.yaml")))
    assert ok == "ok"
    programs = Path("proxy/cli/doctor/programs")
    ours = {path.name for path in (ROOT / programs).iterdir() if path.is_file()}
    assert {path.name for path in (tmp_path / "site" / programs).iterdir()} == ours
