"""`python -m proxy.confine DESCRIPTOR`: what `briefcased run --confine` starts; it has none of the sidecar's memory."""

from __future__ import annotations

import sys

from proxy.confine.errors import ConfineError
from proxy.confine.namespace import confine
from proxy.confine.plan import Plan


def main() -> int:
    """The program's exit code; 1 when it cannot be confined."""
    try:
        return confine(Plan.taken(int(sys.argv[1])))
    except ConfineError as error:
        sys.stderr.write(f"briefcased: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
