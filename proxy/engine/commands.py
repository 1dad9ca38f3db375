"""What our layers ask of the connection handler, beyond mitmproxy's own commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mitmproxy import http  # noqa: TC002  # mitmproxy reads the annotations of hooks
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.commands import StartHook
from mitmproxy.proxy.layers.http import GetHttpConnection

if TYPE_CHECKING:
    from mitmproxy.connection import Connection

    from proxy.exchange import Dial


@dataclass
class SidecarRetryHook(StartHook):
    """A challenge is complete: an addon may mint again and allow one more attempt. Blocking, may be async."""

    flow: http.HTTPFlow


@dataclass
class SidecarCollectedHook(StartHook):
    """An answer that is held is whole: an addon says what the agent gets. Blocking, may be async."""

    flow: http.HTTPFlow


@dataclass
class SidecarClientGoneHook(StartHook):
    """The agent went away while a hook was deciding."""

    flow: http.HTTPFlow
    blocking = False


class AbortClient(commands.Command):
    """Reset the agent's connection: whatever was begun must not look finished."""


class PauseAgent(commands.Command):
    """Read no more from the agent until this stream goes on (`paused` False)."""

    def __init__(self, stream: object, *, paused: bool) -> None:
        self.stream: Final = stream
        self.paused: Final = paused


class WatchHalfClosed(commands.Command):
    """The agent has shut its sending side and still waits: find out when it is gone altogether."""


class WatchStream(commands.Command):
    """Start (or, with None, stop) the clock of `stream`: for the body that is held, then for the response head."""

    def __init__(self, stream: object, timeout_s: float | None) -> None:
        self.stream: Final = stream
        self.timeout_s: Final = timeout_s


class StreamTooLate(events.Event):
    """The clock of `stream` has run out."""

    def __init__(self, stream: object) -> None:
        self.stream: Final = stream


class KeyedConnection(GetHttpConnection):
    """A request for an upstream connection that only an equal dial may share."""

    dial: Dial

    def connection_spec_matches(self, connection: Connection) -> bool:
        """Whether `connection` was opened for an equal dial: same authority, agent, account and trust."""
        return getattr(connection, "dial", None) == self.dial and super().connection_spec_matches(connection)
