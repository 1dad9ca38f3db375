"""The boot self-test: before the first connection, the engine shows that it fails closed on this machine.

Two sidecar lanes over a socket pair: one whose gate is missing, one whose gate raises. Each is sent a request whose
body never comes; each must refuse it at once and dial nothing. The whole contract is tested in `tests/engine/`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Final, NoReturn

from proxy.engine.lane import MitmproxyLane
from proxy.engine.pins import EngineMismatchError
from proxy.exchange import Tunnel
from proxy.model import Agent

if TYPE_CHECKING:
    from mitmproxy.http import HTTPFlow

    from proxy.exchange import Dial
    from proxy.settings import Limits

TIME_S: Final = 5.0
REQUEST: Final = b"POST http://self-test.invalid/ HTTP/1.1\r\nHost: self-test.invalid\r\nContent-Length: 10\r\n\r\n"
EXPECTED: Final = b"HTTP/1.1 503 "


class _NoDial:
    """Counts attempts; opens nothing."""

    def __init__(self) -> None:
        self.attempts = 0

    async def connect(self, dial: Dial) -> NoReturn:
        """Refuse."""
        del dial
        self.attempts += 1
        raise OSError


class _RaisingGate:
    """A gate that fails."""

    def requestheaders(self, flow: HTTPFlow) -> None:
        """mitmproxy's hook."""
        raise RuntimeError(flow.id)


async def self_test(limits: Limits) -> None:
    """Raises `EngineMismatchError` when the engine lets something through that has no decision."""
    log = logging.getLogger("proxy.engine")
    log.disabled = True  # a failure that is asked for is not worth a line
    try:
        for name, addons in (("without a gate", ()), ("with a failing gate", (_RaisingGate(),))):
            await _must_refuse(name, addons, limits)
    finally:
        log.disabled = False


async def _must_refuse(name: str, addons: tuple[object, ...], limits: Limits) -> None:
    dialler = _NoDial()
    lane = MitmproxyLane(addons=addons, dialler=dialler, limits=limits)
    try:
        answer = await asyncio.wait_for(_ask(lane), TIME_S)
    except TimeoutError:
        answer = b""
    if dialler.attempts or not answer.startswith(EXPECTED):
        raise EngineMismatchError(f"self-test {name}: the engine did not refuse")


async def _ask(lane: MitmproxyLane) -> bytes:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    agent_reader, agent_writer = await asyncio.open_connection(sock=theirs)
    agent_writer.write(REQUEST)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(lane.serve(reader, writer, Tunnel(Agent("-", (), "-"), None), b""))
        answer = await agent_reader.readuntil(b"\r\n\r\n")
        agent_writer.close()
        await serving
    return answer
