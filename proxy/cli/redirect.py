"""`briefcased redirect`: the packet filter of a container's network, set by an init container with NET_ADMIN."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from proxy.confine import rules
from proxy.errors import BriefcaseError


def redirect(
    to: Annotated[int, typer.Option(help="Port of the sidecar's transparent listener.", min=1, max=65_535)],
    except_uid: Annotated[
        int | None, typer.Option(help="User id of the sidecar, which may connect to anywhere.", min=0)
    ] = None,
    dns_port: Annotated[
        int | None, typer.Option(help="Port that answers DNS; without it DNS is rejected.", min=1, max=65_535)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the rules for `nft -f`, and do nothing.")] = False,
) -> None:
    """Send every TCP connection of this network namespace to the sidecar, and reject whatever else would leave it."""
    chains = rules.ruleset(tcp_port=to, dns_port=dns_port, except_uid=except_uid)
    if dry_run:
        sys.stdout.write(rules.as_text(chains))
        return
    if sys.platform != "linux":
        raise BriefcaseError("redirect needs Linux")
    rules.install(chains)
