"""Who may talk to the control API at all: before a route is looked at. Pure but for the lookup of a token.

A browser never may: whatever names an origin is refused, so that no page can use it (O-01, O-05, O-06), and Host must
be one of ours, so that no name can be rebound to us.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.api.problems import Problem
from proxy.identity.operator_registry import Unknown, by_uid
from proxy.model import Operator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.identity.operator_registry import OperatorRegistry
    from proxy.operator_settings import OperatorSettings

SOCKET_HOSTS: Final = frozenset({"localhost", "briefcased"})
"""What clients may say in Host where they come by the socket."""


@dataclass(frozen=True, slots=True)
class Knock:
    """Somebody who wants in.

    Attributes:
        headers: with lower-case names.
        uid: of the user at the other end of the unix socket; None by TCP.
        source: where from, as failed attempts are counted.
        own: our address and port, by TCP; None by the socket.
    """

    headers: Mapping[str, str]
    uid: int | None
    source: str
    own: tuple[str, int] | None


def stranger(knock: Knock, settings: OperatorSettings) -> Problem | None:
    """Why whoever this is must not even be asked who they are."""
    if knock.headers.get("host", "") not in _hosts(knock, settings):
        return Problem("misdirected")
    if "origin" in knock.headers or knock.headers.get("sec-fetch-site", "none") != "none":
        return Problem("origin_refused")
    return None


def admitted(
    knock: Knock, registry: OperatorRegistry, settings: OperatorSettings, *, own_uid: int
) -> Operator | Problem:
    """The operator. By the socket the user id is enough; a token goes before it. Blocks; raises `SQLAlchemyError`."""
    authorization = knock.headers.get("authorization")
    if knock.own is None:
        local = by_uid(knock.uid, settings.local, own_uid=own_uid) if knock.uid is not None else None
        if local is None:
            return Problem("forbidden", "This user of the machine is no operator.")
        if authorization is None:
            return local
    match registry.by_token(authorization, knock.source):
        case Unknown(wait_s=0):
            return Problem("unauthenticated")
        case Unknown(wait_s=wait_s):
            return Problem("throttled", retry_after_s=wait_s)
        case Operator() as operator:
            return operator


def _hosts(knock: Knock, settings: OperatorSettings) -> frozenset[str]:
    if knock.own is None:
        return SOCKET_HOSTS
    address, port = knock.own
    bound = f"[{address}]" if ":" in address else address
    return frozenset((f"{bound}:{port}", f"localhost:{port}", *settings.hosts))
