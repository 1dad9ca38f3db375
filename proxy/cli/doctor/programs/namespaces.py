"""Do what a confined run does first, and end. Exit codes: 0 all works, 3 no namespaces, 4 no rules in them."""

import os
import sys

from proxy.confine import netlink, rules
from proxy.confine.child import own_user_namespace
from proxy.confine.errors import ConfineError
from proxy.confine.namespace import ADDRESSES, DNS_PORT, TCP_PORT

NO_NAMESPACES, NO_TABLES = 3, 4


def main() -> int:
    """Everything that is made ends with this process."""
    try:
        own_user_namespace(os.CLONE_NEWNET | os.CLONE_NEWIPC)
    except OSError:
        return NO_NAMESPACES
    try:
        netlink.bring_up(ADDRESSES)
        rules.install(rules.ruleset(tcp_port=TCP_PORT, dns_port=DNS_PORT))
    except (ConfineError, OSError):
        return NO_TABLES
    return 0


if __name__ == "__main__":
    sys.exit(main())
