"""`python -m proxy` is `briefcased`."""

import sys

from proxy.handover import hand_over_for

hand_over_for(sys.argv)

from proxy.cli import main  # noqa: E402  # what it loads would be loaded twice

main()
