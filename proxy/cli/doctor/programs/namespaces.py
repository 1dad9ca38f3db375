"""Make a user and a network namespace, and an nftables table in it. Exit codes: 0 all, 3 no namespaces, 4 no tables."""

import os
import sys
from pathlib import Path

NO_NAMESPACES, NO_TABLES = 3, 4


def main() -> int:
    """Everything that is made ends with this process."""
    user, group = os.getuid(), os.getgid()
    try:
        os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    except (OSError, AttributeError):
        return NO_NAMESPACES
    from pyroute2.nftables.main import NFTables  # type: ignore[import-untyped]  # after the namespace

    try:
        with NFTables(nfgen_family=2) as tables:
            tables.table("add", name="briefcased_doctor")
    except Exception:  # noqa: BLE001  # whatever it is, there are no tables
        return NO_TABLES
    return 0


if __name__ == "__main__":
    sys.exit(main())
