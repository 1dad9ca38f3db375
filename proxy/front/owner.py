"""Whose the connections of a listener are, where the connection itself says it: listener, user, process or SVID."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from proxy.errors import Denial
from proxy.front.peers import peer_process
from proxy.front.sockets import peer_uid
from proxy.front.tls import NotAdmittedError
from proxy.model import BY_NAME, Agent

if TYPE_CHECKING:
    import asyncio
    import contextlib

    from proxy.front.entrance import Entrance, Services
    from proxy.front.tls import Door
    from proxy.settings import Listener

_log: Final = logging.getLogger("proxy.front")
NO_SVID: Final = Denial("proxy_auth_required", "No client certificate came that is an X.509-SVID.", by="front")


@dataclass(frozen=True, slots=True)
class Place:
    """A listener, the kind that it is, and its TLS where it has any."""

    listener: Listener
    entrance: Entrance
    door: Door | None


async def owner_of(
    place: Place, writer: asyncio.StreamWriter, held: contextlib.ExitStack, services: Services
) -> Agent | Denial | None:
    """Whose a connection is; None where it must say so itself. Makes the TLS handshake where there is one.

    `held` ends with the connection.

    Raises:
        NotAdmittedError: the handshake failed, or it brought no SVID.
        OSError: the client went away, or was too slow.
    """
    if place.door is None:
        return _by_peer(place.listener, writer, held, services)
    try:
        svid = await place.door.enter(writer, within_s=services.limits.header_timeout_s)
    except NotAdmittedError as error:
        _log.warning("%s: %s", place.listener.at, error)
        raise
    if svid is None:
        return _named(place.listener, f"{BY_NAME}listener", services)
    agent = services.authenticator.of_svid(svid, place.door.trusts)
    if agent is None:
        _log.warning("%s: %s is no agent's", place.listener.at, svid.id)
    return agent or Denial("proxy_auth_required", "This SPIFFE ID is no agent's.", by="front")


def _by_peer(
    listener: Listener, writer: asyncio.StreamWriter, held: contextlib.ExitStack, services: Services
) -> Agent | Denial | None:
    """By the listener. Through a unix socket the user must be one that may, and the process that connected runs."""
    by, uid = f"{BY_NAME}listener", peer_uid(writer)
    if listener.at.startswith("unix:") or listener.uids:
        if uid not in listener.allowed_uids:
            _log.warning("user %s may not connect to %s", uid, listener.at)
            return Denial("proxy_auth_required", "This user may not connect here.", by="front")
        by = f"{BY_NAME}uid:{uid}"
    agent = _named(listener, by, services)
    if not isinstance(agent, Agent):
        return agent
    try:
        process = peer_process(writer)
    except ProcessLookupError:
        return Denial("proxy_auth_required", "The process that connected has ended.", by="front")
    if process is None:
        return agent
    held.callback(process.close)
    return replace(agent, proof=process)


def _named(listener: Listener, by: str, services: Services) -> Agent | Denial | None:
    if listener.agent is None:
        return None
    agent = services.authenticator.named(listener.agent, by)
    return agent or Denial("proxy_auth_required", "The listener's agent is revoked or unknown.", by="front")
