"""`python -m proxy` is `briefcased`."""

from __future__ import annotations

import sys

from proxy.handover import hand_over_for


def main() -> None:
    """Put the environment away first: what is loaded before that is loaded twice."""
    hand_over_for(sys.argv)
    from proxy.cli import main as briefcased  # noqa: PLC0415

    briefcased()


if __name__ == "__main__":
    main()
