"""What confined mode needs of the kernel: namespaces of a user's own, and rules in them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.cli.doctor.report import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.cli.doctor.checks.situation import Situation

CHECK: Final = "confined mode"
LIMIT_S: Final = 10
NAMESPACES_ALLOWED: Final = "user.max_user_namespaces, kernel.unprivileged_userns_clone or an AppArmor profile"
PROGRAM: Final = Path(__file__).parents[1] / "programs" / "namespaces.py"
MEANING: Final = {
    0: (Level.OK, "user and network namespaces and nftables can be used", ""),
    3: (Level.WARNING, "user namespaces are not allowed for this account", f"Allow them: {NAMESPACES_ALLOWED}."),
    4: (Level.WARNING, "nftables cannot be used in a namespace", "Load the kernel module nf_tables."),
}


def kernel(_: Situation) -> Iterator[Finding]:
    """By doing it: a process makes the namespaces and a table in them, and ends."""
    if not sys.platform.startswith("linux"):
        yield Finding(
            CHECK, Level.WARNING, "only Linux has what it needs", "Use `briefcased run` without it, or a container."
        )
        return
    try:
        ended = subprocess.run(  # noqa: S603  # our own program
            (sys.executable, str(PROGRAM)), check=False, timeout=LIMIT_S, capture_output=True, env={"LC_ALL": "C"}
        )
        level, text, remedy = MEANING.get(ended.returncode, (Level.WARNING, "could not be tried", "Try it by hand."))
    except (OSError, subprocess.TimeoutExpired):
        level, text, remedy = Level.WARNING, "could not be tried", "Try it by hand: unshare --user --net true"
    yield Finding(CHECK, level, text, remedy)
