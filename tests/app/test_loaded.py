"""What a sidecar does not load: it would start later, hold more memory and be reachable through more code."""

from __future__ import annotations

import subprocess
import sys

NOT_NEEDED = (
    "aiohttp",
    "alembic",
    "flask",
    "ldap3",
    "mitmproxy.addons.onboarding",
    "mitmproxy.tools",
    "psycopg",
    "rich",
    "sqlalchemy.dialects.postgresql",
)
START = f"""
import pathlib, sys
import proxy.app, proxy.cli.hand_over, proxy.cli.up, proxy.cli.workloads
from proxy.db.engine import open_database
open_database(pathlib.Path(sys.argv[1])).dispose()
print(*[name for name in {NOT_NEEDED!r} if name in sys.modules])
import mitmproxy.addons.termlog, mitmproxy.master
print(mitmproxy.master.__name__)
"""


def test_a_start_loads_nothing_that_it_does_not_need(tmp_path):
    command = [sys.executable, "-c", START, str(tmp_path / "new.db")]
    ran = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    assert ran.stdout.splitlines() == ["", "mitmproxy.master"]
