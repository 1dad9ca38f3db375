"""`python -m proxy` is `briefcased`."""

from __future__ import annotations

import sys

from proxy.handover import hand_over_for
from proxy.health import answer_at_once


def main() -> None:
    """A health check is answered at once. Else put the environment away: what is loaded before that is loaded twice."""
    answer_at_once(sys.argv)
    hand_over_for(sys.argv)
    from proxy.cli import main as briefcased  # noqa: PLC0415

    briefcased()


if __name__ == "__main__":
    main()
