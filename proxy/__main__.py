"""`python -m proxy` is `briefcased`."""

from proxy.cli import main

main()
